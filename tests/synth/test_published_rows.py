"""One row of a published set: what is read of it, and what sets it aside."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synth.config import SynthSettings
from synth.published.pooling import pool
from synth.published.rows import RowFault, read_rl_row, read_sft_row
from synth.published.stage import import_published
from synth.tables import task_id
from tests.synth.published_rows import (
    ADD,
    SUM,
    TWO_SUM,
    answer,
    context_in,
    in_and_out,
    rl,
    rl_rows,
    sft,
)
from xcoder_core.problem import Limits, TestCase
from xcoder_core.records import read_records
from xcoder_core.stage import SynthLayout


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (sft(SUM, "print(1)"), "no code block after the reasoning"),
        (sft(TWO_SUM, answer("print(")), "does not parse"),
        (sft(SUM, answer(ADD)[:-30]), "cut short"),
    ],
)
def test_a_row_without_a_program_says_what_it_lacks(row: dict[str, Any], said: str) -> None:
    with pytest.raises(RowFault, match=said):
        read_sft_row(row)


STARTER = "class Solution:\n    def f(self, a: int) -> int:"


HOSTILE_SFT = [
    sft(SUM, answer("class Solution:\n    def f(self, a=1" + " + 1" * 800 + "): pass")),
    sft(SUM, answer(f"class Solution:\n    def f(self, a=0x{'f' * 5000}): pass")),
    sft(SUM, answer(ADD)) | {"model": 5},
    sft(SUM + "\ud800", answer(ADD)),
]


HOSTILE_RL = [
    rl(SUM, "codeforces", input_output=in_and_out(["1\ud800"], ["1"])),
    rl(SUM, "codeforces", input_output=in_and_out(["1"], ["1"]), starter_code=5),
    rl(SUM, "codeforces", input_output=in_and_out(["1"], ["1"]), style=["x"]),
    rl(SUM, "codeforces", input_output="[" * 100_000),
    rl(SUM, "codeforces") | {"problem": None, "prompt": ["hello"]},
    rl(STARTER, "codeforces", input_output='{"inputs": [[1]], "outputs": [1e999], "fn_name": "f"}'),
    rl(STARTER, "leetcode", input_output={"test_cases": [f"assert f(a=1) == {'-' * 3000}1"]}),
    rl(STARTER.replace("a: int", "???"), "leetcode", input_output={"test_cases": ["assert f(1) == 1"]}),
]


@pytest.mark.parametrize(
    ("read", "row"),
    [*((read_sft_row, row) for row in HOSTILE_SFT), *((read_rl_row, row) for row in HOSTILE_RL)],
)
def test_a_hostile_row_is_set_aside_and_ends_no_import(
    read: Callable[[dict[str, Any]], Any], row: dict[str, Any]
) -> None:
    with pytest.raises(RowFault):
        read(row)


@pytest.mark.parametrize("text", ["class Solution(" * 100_000, "class Solution:\n def f(self " * 20_000])
def test_a_statement_of_nothing_but_beginnings_holds_nobody_up(text: str) -> None:
    began = time.process_time()
    assert read_sft_row(sft(text, answer(ADD))).function_name is None
    assert time.process_time() - began < 2


def test_assertions_become_arguments_in_the_order_of_the_signature() -> None:
    reading = read_rl_row(rl_rows()[3])
    assert (reading.inputs, reading.expected) == (("[2, 7]\n9",), ("[0, 1]",))
    assert reading.function_name == "twoSum"


def rl_row(tests: dict[str, Any], problem: str = "Read numbers and print their sum.") -> dict[str, Any]:
    return {"problem": problem, "prompter_type": "other", "type": "stdin_stdout", "input_output": json.dumps(tests)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1 2\n", "1 2\n"),
        (["1", "2"], "1\n2"),
        ([1, 2.5], "1\n2.5"),
        (1e20, "100000000000000000000"),
        (1e-7, "0.0000001"),
    ],
)
def test_a_value_of_a_test_is_the_text_that_it_means(value: Any, text: str) -> None:
    reading = read_rl_row(rl_row({"inputs": [value, "0"], "outputs": [value, "0"]}))
    assert reading.inputs == (text, "0") and reading.expected == (text, "0")


@pytest.mark.parametrize("nothing", [None, True, [None], ["1", None], [["1"]], {"a": 1}, float("nan"), float("inf")])
def test_a_test_without_text_is_set_aside_and_counted_and_the_others_stay(nothing: Any, tmp_path: Path) -> None:
    path = tmp_path / "syn_rl_data.jsonl"
    path.write_text(json.dumps(rl_row({"inputs": ["1", nothing, "3"], "outputs": [nothing, "2", "3"]})))
    item = {"source": "x-coder-rl-40k", "path": str(path)}
    import_published(SynthSettings.model_validate({"import": [item]}), "plain", context_in(tmp_path / "run"))
    layout = SynthLayout(tmp_path / "run")
    assert [(row.input, row.expected) for row in read_records(layout.tests, TestCase)] == [("3", "3")]
    (counts,) = json.loads(layout.funnel.read_text()).values()
    assert (counts["tests"], counts["tests_without_text"]) == (1, 2)
    assert "| tests without text | 2 |" in (layout.dataset("rl") / "README.md").read_text()


def test_nothing_is_a_result_of_a_function() -> None:
    tests = {"inputs": [[None], [1]], "outputs": [None, True], "fn_name": "f"}
    assert read_rl_row(rl(STARTER, "codeforces", input_output=json.dumps(tests))).expected == ("null", "true")


@pytest.mark.parametrize("value", [None, True, {"a": 1}, ["1", None], [["1"]], [False]])
def test_what_is_no_text_is_never_made_one(value: Any) -> None:
    for tests in ({"inputs": [value], "outputs": ["1"]}, {"inputs": ["1"], "outputs": [value]}):
        with pytest.raises(RowFault, match="which is no text"):
            read_rl_row(rl_row(tests))


def test_outputs_that_the_judge_takes_for_equal_are_no_conflict() -> None:
    tests = ({"inputs": ["1\n", "2"], "outputs": ["2\n", "4.0 \n"]}, {"inputs": ["1", "2"], "outputs": ["2", "4"]})
    assert pooled_tests(*map(rl_row, tests)) == [("1\n", "2\n"), ("2", "4.0 \n")]


def test_results_of_a_function_are_in_conflict_only_where_the_judge_tells_them_apart() -> None:
    results = ([[1.0, 2], {"a": 1, "b": 2}, 1, "x"], [[1, 2], {"b": 2, "a": 1}, True, "x "])
    tests = [{"inputs": [[0], [1], [2], [3]], "outputs": each, "fn_name": "f"} for each in results]
    rows = (rl(STARTER, "codeforces", input_output=json.dumps(each)) for each in tests)
    assert pooled_tests(*rows) == [("0", "[1.0, 2]"), ("1", '{"a": 1, "b": 2}')]


def pooled_tests(*given: dict[str, Any]) -> list[tuple[str, str]]:
    """The tests that are left of rows of one problem."""
    rows = [replace(read_rl_row(each), task_id=task_id(0, "a", number)) for number, each in enumerate(given)]
    pooled, left_out = pool(rows, Limits())
    assert pooled is not None and not left_out
    return [(test.input, test.expected or "") for test in pooled.tests]
