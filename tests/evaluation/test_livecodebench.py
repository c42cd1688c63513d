"""Files in LiveCodeBench's format are read as the official evaluator reads them, or refused with their row."""

import base64
import json
import os
import pickle
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from evaluation.livecodebench import load_livecodebench
from xcoder_core.errors import InputError

Rows = dict[str, Callable[..., dict[str, Any]]]


class RunsACommand:
    """What a hostile file would hold: unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def encoded(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_both_kinds_load_with_public_tests_before_private_ones(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    benchmark = load_livecodebench(write_jsonl(rows["function"](), rows["stdin"]()))
    first, second = benchmark.problems
    assert (first.io, first.function_name, first.starter_code) == ("stdin", None, None)
    assert (second.io, second.function_name) == ("function", "double")
    cases = benchmark.tests[first.problem_id]
    assert [(case.input, case.expected, case.origin) for case in cases] == [
        ("1 2\n", "3", "public"),
        ("4 5\n", "9\n", "private"),
    ]
    assert [case.input for case in benchmark.tests[second.problem_id]] == ["2", "-3"]
    assert benchmark.groups == ["easy", "hard"]


def test_counts_and_contest_dates_are_said(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    said = load_livecodebench(write_jsonl(rows["stdin"](), rows["function"]())).description
    for part in ("2 problems", "2025-02-01 to 2025-03-08", "easy: 1", "hard: 1", "1 function problems"):
        assert part in said


def test_parquet_and_jsonl_give_the_same_benchmark(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    given = [rows["stdin"](), rows["function"]()]
    path = write_jsonl(*given)
    table = path.with_suffix(".parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(given), table)
    assert load_livecodebench(table).problems == load_livecodebench(path).problems
    assert load_livecodebench(table).tests == load_livecodebench(path).tests


def test_a_malicious_pickle_is_refused_and_never_run(
    rows: Rows, write_jsonl: Callable[..., Path], tmp_path: Path
) -> None:
    bait = encoded(RunsACommand(f"touch {tmp_path}/owned"))
    path = write_jsonl(rows["function"](), rows["stdin"](private_test_cases=bait))
    with pytest.raises(InputError, match=r"bench\.jsonl, row 2, field 'private_test_cases'.*STACK_GLOBAL"):
        load_livecodebench(path)
    assert not (tmp_path / "owned").exists()
    pickle.loads(zlib.decompress(base64.b64decode(bait)))  # the bait is live: an ordinary unpickler would bite
    assert (tmp_path / "owned").exists()


def test_a_pickle_of_anything_but_text_is_refused(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="holds EMPTY_LIST; expected one text"):
        load_livecodebench(write_jsonl(rows["stdin"](private_test_cases=encoded([{"input": "1", "output": "1"}]))))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_text_is_read_out_of_a_pickle_of_any_protocol(
    rows: Rows, write_jsonl: Callable[..., Path], protocol: int
) -> None:
    tests = json.dumps([{"input": "é\\\n" * 100, "output": "😀"}], ensure_ascii=False)
    held = base64.b64encode(zlib.compress(pickle.dumps(tests, protocol))).decode()
    benchmark = load_livecodebench(write_jsonl(rows["stdin"](private_test_cases=held)))
    assert benchmark.tests[benchmark.problems[0].problem_id][-1].expected == "😀"


def test_a_few_bytes_have_no_gigabytes_reserved(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    memo = b"\x80\x04\x8c\x02[]r\xff\xff\xff\x3f."  # an unpickler makes its memo as long as the number in it
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = base64.b64encode(zlib.compress(memo)).decode()
    load_livecodebench(write_jsonl(rows["stdin"](private_test_cases=held)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_tests_that_inflate_without_end_are_refused(
    rows: Rows, write_jsonl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.livecodebench.MOST_BYTES", 1 << 20)
    with pytest.raises(InputError, match="inflates to more than 1 MiB"):
        load_livecodebench(write_jsonl(rows["stdin"](private_test_cases=encoded(" " * (2 << 20) + "[]"))))


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        ("stdin", {"difficulty": "brutal"}, "'difficulty': 'brutal' is none of"),
        ("stdin", {"contest_date": "yesterday"}, "'contest_date': 'yesterday' is not a date"),
        ("stdin", {"question_content": None}, "'question_content': expected text, found NoneType"),
        ("stdin", {"question_content": "x\ud800"}, "field 'question_content': half of a surrogate pair"),
        ("stdin", {"public_test_cases": "[1" + "0" * 5000 + "]"}, "'public_test_cases': not valid JSON"),
        ("stdin", {"public_test_cases": "{}"}, "'public_test_cases': expected a JSON list, found dict"),
        ("stdin", {"public_test_cases": '[{"input": 3}]'}, "'public_test_cases': a test must be an object"),
        ("stdin", {"private_test_cases": "@@@"}, "'private_test_cases': neither a JSON list nor"),
        ("stdin", {"public_test_cases": "[]", "private_test_cases": "[]"}, "no public and no private test"),
        ("function", {"public_test_cases": '[{"input": "x y", "output": "1"}]'}, "not valid JSON"),
        ("function", {"public_test_cases": f'[{{"input": "1", "output": "{"7" * 5000}"}}]'}, "not valid JSON"),
        ("function", {"metadata": '{"func_name": "not a name"}'}, "func_name must be a Python name"),
        ("function", {"starter_code": ""}, "'starter_code': a function problem needs one"),
    ],
)
def test_a_bad_field_is_named_with_its_row(
    rows: Rows, write_jsonl: Callable[..., Path], kind: str, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as error:
        load_livecodebench(write_jsonl(rows["stdin"](question_content="another"), rows[kind](**changed)))
    assert said in str(error.value) and "row 2" in str(error.value)


def test_missing_fields_broken_lines_and_doubles_are_refused(rows: Rows, write_jsonl: Callable[..., Path]) -> None:
    row = rows["stdin"]()
    del row["metadata"]
    with pytest.raises(InputError, match="row 1: the field 'metadata' is missing"):
        load_livecodebench(write_jsonl(row))
    with pytest.raises(InputError, match="row 2: the same problem as row 1"):
        load_livecodebench(write_jsonl(rows["stdin"](), rows["stdin"](question_id="again")))
    path = write_jsonl(rows["stdin"]())
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(InputError, match="row 2: not valid JSON"):
        load_livecodebench(path)
    path.write_text("")
    with pytest.raises(InputError, match="holds no row"):
        load_livecodebench(path)
