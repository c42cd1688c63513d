"""Both verdict policies on the same programs, and the list of those on which they differ."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from evaluation.judging import PolicyDifference, count_differences
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import ResultLayout
from evaluation.results import ModelResult, load_result
from evaluation.tables import breakdowns_markdown, print_results
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from xcoder_core.errors import InputError
from xcoder_core.records import read_records

RIGHT = "```python\nprint(sum(map(int, input().split())))\n```"
ITERATES = "```python\nimport sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))\n```"
ENDS_BADLY = "```python\nprint(sum(map(int, input().split())))\nraise SystemExit(3)\n```"
WRONG = "```python\nprint(0)\n```"


@pytest.fixture
def result(rows: Any, write_jsonl: Callable[..., Path], replay: Any, tmp_path: Path) -> ModelResult:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"]()))
    settings = EvaluationSettings(samples=5, k=(1,), bootstrap=200, policies=("faithful", "livecodebench"))
    generator = replay({"sum": [RIGHT, ITERATES, ENDS_BADLY, WRONG, ITERATES]})
    judge = JudgeSettings(workers=1)
    return evaluate_model(settings, judge, [benchmark], "m", generator, tmp_path / "m", 7, "livecodebench")


def test_what_differs_is_listed_once_per_program_and_counted(result: ModelResult, capsys: Any) -> None:
    path = ResultLayout(result.folder).policy_differences
    found = {row.sample_index: row for row in read_records(path, PolicyDifference)}
    assert {index: (row.first, row.second, row.samples) for index, row in found.items()} == {
        1: ("AC", "RE", 2),  # the official stand-in for standard input cannot be iterated
        2: ("RE", "AC", 1),  # the official checker takes no notice of the exit status
    }
    assert "for line in sys.stdin" in found[1].code
    counted = {"faithful AC, livecodebench RE": 1, "faithful RE, livecodebench AC": 1}
    assert count_differences(path) == {"programs": 2, "samples": 3, "verdicts": counted}
    assert result.scores["policy_differences"]["programs"] == 2
    print_results({"m": result}, {})
    said = " ".join(capsys.readouterr().out.split())
    assert "the policies differ on 2 programs (3 samples)" in said
    assert "DECONTAMINATION UNKNOWN" in said and "policy faithful, extraction last_block" in said


def test_the_first_policy_gives_the_scores_and_both_stand_side_by_side(result: ModelResult) -> None:
    entry = result.scores["benchmarks"]["bench"]
    assert result.scores["policy"] == "faithful"
    assert entry["pass_at_1"]["mean"] == pytest.approx(0.6)
    assert {policy: part["pass_at_1"]["mean"] for policy, part in entry["policies"].items()} == pytest.approx(
        {"faithful": 0.6, "livecodebench": 0.4}
    )
    said = breakdowns_markdown({"m": result})
    for title in (
        "avg@n",
        "pass@1 by month",
        "pass@1 by platform",
        "right samples by tokens of the response",
        "pass@1 under each verdict policy",
        "| livecodebench | 40.0",
    ):
        assert title in said
    json.dumps(result.scores, allow_nan=False)


def test_one_policy_leaves_no_list(replay: Any, rows: Any, write_jsonl: Callable[..., Path], tmp_path: Path) -> None:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"]()))
    settings = EvaluationSettings(samples=1, k=(1,), bootstrap=200)
    official = JudgeSettings(workers=1, policy="livecodebench")
    result = evaluate_model(
        settings, official, [benchmark], "m", replay({"sum": [ITERATES]}), tmp_path / "m", 7, "plain"
    )
    assert result.scores["policy"] == "livecodebench" and "policy_differences" not in result.scores
    assert result.scores["benchmarks"]["bench"]["pass_at_1"]["mean"] == 0.0
    with pytest.raises(InputError, match="begun with policies"):
        evaluate_model(settings, JudgeSettings(), [benchmark], "m", replay({}), tmp_path / "m", 7, "plain")


def test_a_result_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"label": "base", "benchmarks": {}}')
    with pytest.raises(InputError, match="earlier version"):
        load_result(tmp_path)


def test_a_policy_is_named_once() -> None:
    with pytest.raises(ValueError, match="each policy once"):
        EvaluationSettings(policies=("faithful", "faithful"))
