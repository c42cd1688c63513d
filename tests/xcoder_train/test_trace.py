"""`xcoder trace`: one task from its features to the tables, read from the files of real runs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from reward.config import JudgeSettings
from synth.tables import Candidate, Task, Verdict, WorkTables
from tests.evaluation.measured import evaluate_model
from tests.evaluation.releases import answer, dates, problem
from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_matching, read_records, write_records
from xcoder_core.settings import require
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_core.templates import WIDTH
from xcoder_train.commands.trace import trace_found as trace
from xcoder_train.trace.find import RunResults, find


@pytest.fixture
def run(finished_folder: Path) -> Path:
    return finished_folder / "runs" / "tiny"


@pytest.fixture
def verdicts(run: Path) -> dict[str, Verdict]:
    """By task."""
    tables = WorkTables(require(RunResults(run).result("synth")))
    return {verdict.task_id: verdict for verdict in read_records(tables.verdicts, Verdict)}


def test_every_candidate_and_every_test_of_a_task_is_told_as_the_tables_have_them(
    run: Path, verdicts: dict[str, Verdict]
) -> None:
    folder = require(RunResults(run).result("synth"))
    for verdict in verdicts.values():
        told = trace(find(verdict.problem_id, run, [])).values["synthesis"]
        assert told["outcome"]["kept"] is (verdict.reason is None)
        assert told["outcome"]["reason"] == verdict.reason
        assert told["tests"]["labelled"] == len(verdict.labels)
        candidates = read_matching(WorkTables(folder).candidates, Candidate, "task_id", verdict.task_id)
        faults = [candidate.fault for candidate in candidates]
        assert [one["fault"] for one in told["solutions"]] == faults
        passed = {one["index"]: one["passed"] for one in told["solutions"] if one["fault"] is None}
        assert passed == dict(zip(verdict.candidates, verdict.passed, strict=True))
        assert [one["index"] for one in told["solutions"] if one["golden"]] == (
            [] if verdict.golden is None else [verdict.golden]
        )
        (task,) = read_matching(WorkTables(folder).tasks, Task, "task_id", verdict.task_id)
        assert tuple(told["task"]["features"]) == task.problem.features


def test_a_trace_names_the_rows_of_the_dataset_that_the_task_became(run: Path, verdicts: dict[str, Verdict]) -> None:
    import pyarrow.parquet

    (table,) = run.glob("synth/*/datasets/sft/train.parquet")
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert rows
    for number, row in enumerate(rows):
        told = trace(find(row["problem_id"], run, [])).values["synthesis"]
        told_row = next(one for one in told["datasets"]["sft"] if one["row"] == number)
        assert told_row["solution_index"] == row["solution_index"]
        assert next(one for one in told["solutions"] if one["sft_row"] == number)["accepted"]


def test_the_text_fits_eighty_columns_and_tells_every_step(run: Path, verdicts: dict[str, Verdict]) -> None:
    kept = next(verdict for verdict in verdicts.values() if verdict.reason is None and verdict.split == "solved")
    shown = trace(find(kept.task_id, run, [])).text
    assert max(map(len, shown.split("\n"))) <= WIDTH
    for head in ("features", "task", "tests", "solutions", "cleaning", "training"):
        assert f"\n{head}" in shown
    assert "outcome         kept" in shown and f"golden          #{kept.golden}" in shown


def test_nothing_that_a_model_wrote_reaches_the_terminal_as_a_control_sequence(run: Path, tmp_path: Path) -> None:
    written = "\x1b[2J\x07\u202e"
    shutil.copytree(run, tmp_path / "run")
    table = SynthLayout(require(RunResults(tmp_path / "run").result("synth"))).problems
    first, *others = read_records(table, Problem)
    problem = replace(first, statement=written, features=(written,))
    write_records(table, Problem, [problem, *others], ("problem_id",))
    traced = trace(find(problem.problem_id, tmp_path / "run", []))
    assert traced.values["synthesis"]["task"]["features"] == [written]
    assert "\\x1b[2J\\x07\\u202e" in traced.text and not set(traced.text) & set("\x1b\x07\u202e")


def test_the_beginning_of_an_id_suffices_and_a_slip_is_answered_with_what_is_near(
    run: Path, verdicts: dict[str, Verdict], terminal: Any
) -> None:
    name = next(iter(verdicts.values())).problem_id
    heavy = ("torch", "transformers", "datasets", "pandas", "matplotlib")
    code = (
        "import sys\nfrom xcoder_train.cli import main\n"
        f"sys.argv = ['xcoder', 'trace', {name[:9]!r}, {str(run)!r}, '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr)\n"
    )
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["problem_id"] == name
    assert told.stderr.strip() == "[]"  # nothing that takes seconds to import
    slip = name[:-1] + ("0" if name[-1] != "0" else "1")
    refused = terminal.xcoder("trace", slip, str(run))
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert f"there is no problem or task {slip} in {run}; nearest: {name}" in refused.stderr
    with pytest.raises(InputError, match=r"000-held-0000000 is the beginning of 3 ids in .*: 000-held-00000000, "):
        find("000-held-0000000", run, [])


def test_several_runs_that_know_a_problem_are_named(
    run: Path, verdicts: dict[str, Verdict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = next(iter(verdicts.values())).problem_id
    with pytest.raises(InputError, match="there is no run in runs"):
        find(name, None, [])
    shutil.copytree(run, tmp_path / "runs" / "one")
    moved = find(name, None, [])
    assert require(moved.run.result("synth")).is_relative_to("runs/one")  # not where its manifest says that it was
    shutil.copytree(run, tmp_path / "runs" / "two")
    with pytest.raises(
        InputError, match=f"2 runs know {name}: runs/one, runs/two. Name one: xcoder trace {name} runs/one"
    ):
        find(name, None, [])
    assert find(name, Path("runs/two"), []).run.folder == Path("runs/two")
    with pytest.raises(InputError, match="overrides go with a recipe"):
        find(name, Path("runs/two"), ["name=one"])


def test_a_recipe_names_its_run(finished_folder: Path, verdicts: dict[str, Verdict], monkeypatch: Any) -> None:
    monkeypatch.chdir(finished_folder)
    name = next(iter(verdicts.values())).problem_id
    assert find(name, Path("recipe.yaml"), []).run.folder == Path("runs/tiny")
    with pytest.raises(InputError, match="there is no run in runs/other"):
        find(name, Path("recipe.yaml"), ["name=other"])


def test_a_few_rows_are_read_from_the_row_groups_that_hold_them(tmp_path: Path) -> None:
    rows = [TestCase(f"{number // 3:04d}", number % 3, "long " * 40_000) for number in range(150)]
    path = write_records(tmp_path / "tests.parquet", TestCase, rows, ("problem_id", "index"))
    assert list(read_matching(path, TestCase, "problem_id", "0017")) == rows[51:54]
    assert list(read_matching(path, TestCase, "problem_id", "0017", "0018")) == rows[51:57]
    assert list(read_matching(path, TestCase, "problem_id", "9")) == []


class Solver:
    """A model whose first sample of each problem is right."""

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        for request in requests:
            text = answer(request.messages[-1]["content"]) if request.id.endswith("/0") else "I cannot."
            yield Completion(request.id, text, tuple(range(9)), "stop", 10, 9)


def test_a_problem_of_livecodebench_is_found_by_its_official_id(tmp_path: Path) -> None:
    run, days = tmp_path / "run", dates(6)
    bench = tmp_path / "bench.jsonl"
    bench.write_text("".join(json.dumps(problem(number, next(days))) + "\n" for number in (2, 4, 6)))
    asked = EvaluationSettings(samples=2, k=(1,), bootstrap=100)
    target = run / "evaluation" / "base-key"
    benchmarks = load_benchmarks([f"file:{bench}"], None)
    evaluate_model(asked, JudgeSettings(workers=1), benchmarks, "base", Solver(), target, 7, "plain")
    StageContext("run", "evaluation", "key", run / "evaluation", 7, {}).finish(models={"base": "base-key"})
    write_json(run / "manifest.json", {"run": "run", "seed": 7, "stages": {}})

    traced = trace(find("abc0004_a", run, []))
    told, shown = traced.values, traced.text
    assert told["synthesis"] is None and told["benchmark"]["source"] == "livecodebench:abc0004_a"
    (score,) = told["scores"]
    assert [one["verdict"] for one in score["samples"]] == ["AC", "no code"]
    assert score["pass_at_1"] == 0.5 and score["cells"]["pass_at_1"]["all"] == {"mean": 0.5, "problems": 3}
    assert "pass@1          50.0 %: 1 of 2 samples right" in shown
    assert "column base, rows all 50.0 % of 3" in shown
