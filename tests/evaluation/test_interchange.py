"""Official LiveCodeBench files go both ways: submissions are judged again, and its own code takes what is written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmark import Benchmark
from evaluation.config import EvaluationSettings
from evaluation.evaluate import rejudge
from evaluation.interchange import read_submission
from evaluation.livecodebench import load_livecodebench
from evaluation.measurement import Measurement
from evaluation.results import ModelResult
from reward.config import JudgeSettings
from tests.evaluation.releases import dates, problem, program
from xcoder_core.errors import InputError

CHECKOUT = os.environ.get("XCODER_LIVECODEBENCH_CHECKOUT")
OFFICIAL = Path(__file__).with_name("official_evaluator.py")
SETTINGS = EvaluationSettings(samples=8, k=(1, 2, 8), bootstrap=200)
ITERATES = "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())) * 2)\n"


def write_rows(path: Path, numbers: range) -> Path:
    rows = [problem(number, date) for number, date in zip(numbers, dates(6), strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measurement(label: str, folder: Path, benchmark: Benchmark, judge: JudgeSettings) -> Measurement:
    return Measurement(label, folder, [benchmark], SETTINGS, judge, 3, prompt="plain")


def submission(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Right, wrong, crashing, missing: four programs for each problem, one of them right."""
    return [
        {
            "question_id": question["question_id"],
            "code_list": [program(question["question_content"]), "print(0)", "raise ValueError", ""],
        }
        for question in benchmark.questions.values()
    ]


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return load_livecodebench(write_rows(tmp_path / "rows.jsonl", range(6)))


@pytest.fixture
def judged(benchmark: Benchmark, tmp_path: Path) -> Callable[..., ModelResult]:
    def run(rows: Any, name: str = "sub", policy: str = "faithful") -> ModelResult:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(rows))
        judge = JudgeSettings(workers=2, policy=policy)  # type: ignore[arg-type]
        return rejudge(path, measurement(name, tmp_path / f"result-{name}", benchmark, judge))

    return run


def official_files(result: ModelResult, samples: int = 4) -> dict[str, Any]:
    (folder,) = (result.folder / "official").iterdir()
    stem = f"Scenario.codegeneration_{samples}_0.6"
    return {end: json.loads((folder / f"{stem}{end}.json").read_text()) for end in ("", "_eval", "_eval_all")}


def test_a_submission_is_judged_and_what_is_written_is_read_again(judged: Any, benchmark: Benchmark) -> None:
    result = judged(submission(benchmark))
    scores = result.scores["benchmarks"]["rows"]
    assert (scores["pass_at_1"]["mean"], scores["pass_at_2"]["mean"]) == (0.25, 0.5)
    assert scores["failures"]["no_code"] == 6 and "pass_at_8" not in scores
    files = official_files(result)
    assert [row["graded_list"] for row in files["_eval_all"]] == [[True, False, False, False]] * 6
    metrics, results, metadata = files["_eval"]
    assert metrics["pass@1"] == 0.25 and "pass@5" not in metrics
    assert results["0"][0] == [True] * 6 and results["0"][2][-1] == -4
    assert json.loads(metadata[0][2])["error_code"] == -4
    again = judged(files["_eval_all"], "again")
    assert [row.verdict for row in again.verdicts()] == [row.verdict for row in result.verdicts()]


def test_programs_without_names_are_those_of_the_questions_in_order(judged: Any, benchmark: Benchmark) -> None:
    rows = sorted(submission(benchmark), key=lambda row: str(row["question_id"]))
    bare = judged([row["code_list"] for row in rows], "bare")
    assert bare.scores["benchmarks"]["rows"]["pass_at_1"]["mean"] == 0.25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "no programs for 1 problems"),
        (lambda rows: [row["code_list"] for row in rows][:-1], "for 5 problems and names none; rows has 6"),
        (lambda rows: [{"question_id": "x"}, *rows], "entry 1: expected an object with `question_id`"),
        (lambda rows: [*rows, rows[0]], "two entries with one question_id"),
        (lambda rows: [rows[0] | {"code_list": ["a"]}, *rows[1:]], "from 1 to 4 programs per problem"),
        (lambda rows: [rows[0] | {"code_list": [3]}, *rows[1:]], "expected a list of programs as texts"),
        (lambda rows: {}, "must hold a JSON list"),
    ],
)
def test_a_file_that_is_about_something_else_is_refused(
    benchmark: Benchmark, tmp_path: Path, change: Callable[..., Any], said: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(change(submission(benchmark))))
    with pytest.raises(InputError, match=said):
        read_submission(path, benchmark)


def test_a_larger_submission_is_cut_to_the_benchmark(benchmark: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "more.json"
    path.write_text(json.dumps([*submission(benchmark), {"question_id": "elsewhere", "code_list": [""] * 4}]))
    assert len(read_submission(path, benchmark)) == 6


def official(rows: Path, module: str, *arguments: str) -> str:
    command = [sys.executable, str(OFFICIAL), str(CHECKOUT), str(rows), module, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHECKOUT is None, reason="XCODER_LIVECODEBENCH_CHECKOUT names no checkout")
def test_the_official_code_accepts_our_files_and_agrees(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", range(24))
    benchmark = load_livecodebench(rows)
    programs = submission(benchmark)
    for row in programs:
        row["code_list"][1] = ITERATES  # right for the first template; the official checker cannot run it
    path = tmp_path / "sub.json"
    path.write_text(json.dumps(programs))
    judge = JudgeSettings(workers=2, policy="livecodebench")
    ours = rejudge(path, measurement("ours", tmp_path / "ours", benchmark, judge))
    written = official_files(ours)
    (folder,) = (ours.folder / "official").iterdir()

    generations = tmp_path / "generations.json"
    generations.write_text(json.dumps(written[""]))
    official(rows, "lcb_runner.runner.custom_evaluator", "--custom_output_file", str(generations))
    theirs = json.loads((tmp_path / "generations_codegeneration_output_eval_all.json").read_text())
    assert {row["question_id"]: row["graded_list"] for row in theirs} == {
        row["question_id"]: row["graded_list"] for row in written["_eval_all"]
    }
    assert {key for row in theirs for key in row} == {key for row in written["_eval_all"] for key in row}
    their_metrics = json.loads((tmp_path / "generations_codegeneration_output_eval.json").read_text())[0]
    assert their_metrics["pass@1"] == pytest.approx(written["_eval"][0]["pass@1"])

    stem = "Scenario.codegeneration_4_0.6_eval_all.json"
    said = official(rows, "lcb_runner.evaluation.compute_scores", "--eval_all_file", str(folder / stem))
    lines = said.splitlines()
    mean = ours.scores["benchmarks"]["rows"]["pass_at_1"]["mean"]
    assert lines[0] == "24" and float(lines[1].partition("=")[2]) == pytest.approx(mean)
    easy = next(line for line in lines if line.startswith("Easy Pass@1 ="))
    ours_easy = ours.scores["benchmarks"]["rows"]["pass_at_1"]["by_difficulty"]["easy"]["mean"]
    assert float(easy.partition("=")[2]) == pytest.approx(ours_easy)

    theirs = tmp_path / "generations_codegeneration_output_eval_all.json"
    again = rejudge(theirs, measurement("theirs", tmp_path / "theirs", benchmark, judge))
    assert [row.verdict for row in again.verdicts()] == [row.verdict for row in ours.verdicts()]
