"""The real HumanEval, and the package `evalplus` on the same answers (`benchmarks/humaneval.py`).

XCODER_HUMANEVAL=HumanEval.jsonl.gz XCODER_EVALPLUS_PYTHON=PYTHON pytest -m slow tests/evaluation
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.humaneval import ALONE, Outcome, judged, made_answers
from reward.verdict import Verdict
from xcoder_core.rows import sound_rows

HUMANEVAL, PYTHON = os.environ.get("XCODER_HUMANEVAL"), os.environ.get("XCODER_EVALPLUS_PYTHON")
RIGHT = ("whole program", ALONE, "with an example of its use", "no fence", "body, as base models write it")
WRONG = ("wrong result", "raises", "another name", "no Python")


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    if HUMANEVAL is None or PYTHON is None:
        pytest.skip("set XCODER_HUMANEVAL to HumanEval.jsonl.gz, XCODER_EVALPLUS_PYTHON to a Python with `evalplus`")
    path = Path(HUMANEVAL)
    return judged(path, PYTHON, list(made_answers([row for _, row in sound_rows(path, "HumanEval")])))


@pytest.mark.slow
def test_every_canonical_solution_passes_in_every_form_and_no_wrong_one(outcomes: list[Outcome]) -> None:
    passed = Counter(outcome.answer.form for outcome in outcomes if outcome.passes)
    assert passed == dict.fromkeys(RIGHT, 164)


@pytest.mark.slow
def test_the_package_says_the_same_but_of_functions_that_need_what_their_prompt_defines(
    outcomes: list[Outcome],
) -> None:
    compared = [outcome for outcome in outcomes if outcome.answer.task != "HumanEval/32"]  # 0.3.1 takes no answer to it
    other = [outcome for outcome in compared if outcome.passes != outcome.official]
    assert {outcome.answer.form for outcome in other} == {ALONE} and len(other) == 21
    assert all(outcome.ours is Verdict.AC for outcome in other)
