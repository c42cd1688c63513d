"""HumanEval+ and MBPP+ in their published format are judged by their own test programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from evaluation.evalplus import load_evalplus
from evaluation.prompting import evaluation_prompt
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.errors import InputError

COMPARE = """\
import numpy as np

def assertion(out, exp, atol):
    assert out == exp or np.allclose(out, exp, rtol=1e-07, atol=atol), f"out: {out}, exp: {exp}"
"""
HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def twice(x: float) -> float:\n    """Return x, doubled.\n    >>> twice(2)\n    4\n    """\n',
    "canonical_solution": "    return 2 * x\n",
    "entry_point": "twice",
    "test": COMPARE
    + """
def check(candidate):
    inputs = [[1], [-3], [0.5]]
    results = [2, -6, 1.0]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 1e-6)
""",
}
MBPP = {
    "task_id": 901,
    "code": "def add(a, b):\n    return a + b",
    "prompt": "Write a python function to add two numbers.",
    "source_file": "made here",
    "test_imports": [],
    "test_list": ["assert add(1, 2) == 3"],
    "test": COMPARE
    + """
inputs = [[1, 2], [-5, 5]]
results = [3, 0]
for i, (inp, exp) in enumerate(zip(inputs, results)):
    assertion(add(*inp), exp, 0)
""",
}
ASSERTIONS = {"task_id": "Mbpp/902", "prompt": '"""Square."""', "entry_point": "sq", "assertion": "assert sq(3) == 9"}


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def lines(*rows: dict[str, Any]) -> Path:
        path = tmp_path / "plus.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return lines


def test_right_programs_pass_and_every_kind_of_wrong_one_does_not(
    write: Callable[..., Path], replay: Any, tmp_path: Path
) -> None:
    (benchmark,) = load_benchmarks([f"evalplus:{write(HUMANEVAL, MBPP, ASSERTIONS)}"], None)
    assert benchmark.groups == ["HumanEval+", "MBPP+", "MBPP (the base assertions alone)"]
    answers = {
        "doubled": [
            fenced("from __future__ import annotations\nprint('noise')\ndef twice(x: float): return 2 * x"),
            fenced("def twice(x): return 4"),
            fenced("print('all assertions held')\nraise SystemExit(0)"),
            fenced("def other(x): return 2 * x"),
        ],
        "add two": [
            fenced("def add(a, b): return a + b"),
            fenced("def add(a, b): return a - b"),
            "no program",
            fenced("def add(a, b) return"),
        ],
        "Square": [fenced("def sq(x): return x * x"), fenced("def sq(x): return 2 * x"), "none", "none"],
    }
    settings = EvaluationSettings(samples=4, k=(1,), bootstrap=200)
    judge = JudgeSettings(workers=2)
    result = evaluate_model(settings, judge, [benchmark], "m", replay(answers), tmp_path / "m", 7, "plain")
    right = [row.sample_index for row in result.verdicts() if row.failure == "none"]
    assert right == [0, 0, 0]
    assert result.scores["benchmarks"]["plus"]["pass_at_1"]["by_set"]["HumanEval+"]["mean"] == 0.25


def test_models_are_shown_the_function_or_a_test_that_names_it(write: Callable[..., Path]) -> None:
    first, second = load_evalplus(write(HUMANEVAL, MBPP)).problems
    assert "def twice(x: float)" in first.statement and "assert add(1, 2) == 3" in second.statement


@pytest.mark.parametrize("style", ["plain", "livecodebench", "livecodebench-r1", "livecodebench-codeqwen"])
def test_a_function_is_asked_for_whatever_the_recipes_wording_is(write: Callable[..., Path], style: Any) -> None:
    (problem,) = load_evalplus(write(HUMANEVAL)).problems
    messages, stop = evaluation_prompt(problem, style, None)
    assert (messages, stop) == evaluation_prompt(problem, "plain", None) and len(messages) == 1 and stop == ()
    asked = messages[0]["content"]
    assert f"```python\n{HUMANEVAL['prompt'].strip()}\n```" in asked and "std" not in asked.lower()


def test_a_base_model_continues_the_prompt_itself(write: Callable[..., Path]) -> None:
    (problem,) = load_evalplus(write(HUMANEVAL)).problems
    messages, stop = evaluation_prompt(problem, "livecodebench-base", None)
    assert messages == [{"role": "continuation", "content": HUMANEVAL["prompt"]}]
    assert "\ndef " in stop and not any(end in HUMANEVAL["canonical_solution"] for end in stop)


def test_a_set_is_called_what_it_is(write: Callable[..., Path]) -> None:
    plain = HUMANEVAL | {"task_id": "HumanEval/1", "test": "def check(candidate):\n    assert candidate(1) == 2\n"}
    few = MBPP | {"task_id": 7, "prompt": "Add two numbers.", "test": "assert add(1, 2) == 3"}
    rows = [HUMANEVAL, plain | {"prompt": HUMANEVAL["prompt"] + "    # plain\n"}, MBPP, few, ASSERTIONS]
    benchmark = load_evalplus(write(*rows))
    names = [benchmark.group[problem.problem_id] for problem in benchmark.problems]
    assert names == ["HumanEval+", "HumanEval", "MBPP+", "MBPP", "MBPP (the base assertions alone)"]


def test_the_function_of_mbpp_is_the_one_that_its_test_calls(write: Callable[..., Path]) -> None:
    rows = [
        MBPP | {"task_id": number, "prompt": f"Task {number}.", "test_list": [test], "test": test}
        for number, test in enumerate(
            [
                "assert set(similar((1, 2), (2, 3))) == {2}",
                "assert math.isclose(area(3), 9, rel_tol=0.1)",
                "assert f() is None",
            ]
        )
    ]
    assert [problem.function_name for problem in load_evalplus(write(*rows)).problems] == ["similar", "area", "f"]


def test_the_official_policy_has_no_say_here(write: Callable[..., Path], replay: Any, tmp_path: Path) -> None:
    benchmark = load_evalplus(write(HUMANEVAL))
    settings = EvaluationSettings(samples=1, k=(1,), policies=("faithful", "livecodebench"))
    with pytest.raises(InputError, match="under the policy `faithful` alone"):
        evaluate_model(settings, JudgeSettings(), [benchmark], "m", replay({}), tmp_path / "m", 7, "plain")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"task_id": 1}, "the field 'prompt' is missing"),
        ({"task_id": 1, "prompt": "x", "base_input": []}, "neither a `test` nor an `assertion`"),
        (HUMANEVAL | {"entry_point": "a b"}, "expected a Python name"),
        (HUMANEVAL | {"entry_point": 3}, "expected a Python name"),
        (MBPP | {"task_id": 7, "test_list": ["True"]}, "says which function is judged"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(write: Callable[..., Path], row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        load_evalplus(write(MBPP, row))
    assert said in str(error.value) and "row 2" in str(error.value)
