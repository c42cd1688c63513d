"""A whole small run: its tables, its datasets, its funnel, and what was kept out of them."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from synth.config import SynthSettings
from synth.procedural.pipeline import read_pipeline
from synth.procedural.task import true_output
from synth.procedural.teacher import parse_response
from synth.publication import RlRow, SftRow, publish_datasets
from synth.tables import Candidate, Execution, Quarantined, Task, TaskInputs, Verdict, WorkTables, beside
from synth.voting import vote_of
from xcoder_core.models.prompt import render_prompt
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_records
from xcoder_core.stage import Membership, SynthLayout


def by_problem(path: Path, record_type: type) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for record in read_records(path, record_type):
        grouped.setdefault(record.problem_id, []).append(record)
    return grouped


@pytest.fixture(scope="module")
def layout(finished_run: Path) -> SynthLayout:
    return SynthLayout(finished_run)


@pytest.fixture(scope="module")
def tables(finished_run: Path) -> WorkTables:
    return WorkTables(finished_run)


def test_the_published_tables_hold_the_same_problems(layout: SynthLayout) -> None:
    problems = [problem.problem_id for problem in read_records(layout.problems, Problem)]
    assert problems == sorted(set(problems)) and len(problems) > 20
    assert [record.problem_id for record in read_records(layout.memberships, Membership)] == problems
    assert list(by_problem(layout.tests, TestCase)) == problems
    assert list(by_problem(layout.solutions, Solution)) == problems


def test_accepted_solutions_pass_and_others_fail_when_judged_again(layout: SynthLayout) -> None:
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    tests = by_problem(layout.tests, TestCase)
    solutions = list(read_records(layout.solutions, Solution))
    submissions = [
        Submission(
            id=str(place),
            code=solution.code,
            inputs=tuple(test.input for test in tests[solution.problem_id]),
            expected=tuple(test.expected for test in tests[solution.problem_id]),
            function_name=problems[solution.problem_id].function_name,
            limits=problems[solution.problem_id].limits,
            share_process=problems[solution.problem_id].io == "function",
        )
        for place, solution in enumerate(solutions)
    ]
    with Judge(JudgeSettings(workers=2)) as judge:
        judgements = list(judge.judge(submissions, stop_at_first_failure=False))
    assert [judgement.passed for judgement in judgements] == [solution.passed for solution in solutions]
    assert {judgement.verdict == "AC" for judgement in judgements} == {True, False}


def test_each_problem_has_one_golden_solution_and_it_passes_every_test(layout: SynthLayout) -> None:
    tests = by_problem(layout.tests, TestCase)
    for identity, solutions in by_problem(layout.solutions, Solution).items():
        (golden,) = [solution for solution in solutions if solution.is_golden]
        assert golden.passed == len(tests[identity]) and golden.score == 1.0
        accepted = [solution for solution in solutions if solution.passed == len(tests[identity])]
        assert len(accepted) >= 2


def test_tests_carry_quartile_weights_and_the_agreement_of_all_candidates(
    layout: SynthLayout, small_settings: dict[str, Any]
) -> None:
    asked = small_settings["candidates_per_task"]
    weights: Counter[int] = Counter()
    for tests in by_problem(layout.tests, TestCase).values():
        assert [test.index for test in tests] == list(range(len(tests)))
        assert all(test.agreement in {count / asked for count in range(2, asked + 1)} for test in tests)
        weights.update(test.weight for test in tests)
    assert set(weights) == {1, 2, 3, 4}


def test_the_measured_accuracies_are_those_of_the_tables(tables: WorkTables, layout: SynthLayout) -> None:
    funnel = json.loads(layout.funnel.read_text())
    pipelines = {task.problem.problem_id: task for task in read_records(tables.tasks, Task)}
    split_of = {record.problem_id: record.split for record in read_records(layout.memberships, Membership)}
    right, labels = Counter[str](), Counter[str]()
    for test in read_records(layout.tests, TestCase):
        task = pipelines[test.problem_id]
        truth = true_output(read_pipeline(task.pipeline), test.input)
        io = task.problem.io
        labels[split_of[test.problem_id]] += 1
        right[split_of[test.problem_id]] += vote_of(test.expected or "", io) == vote_of(truth, io)
    for split, figures in funnel.items():
        assert figures["tests"] == labels[split]
        assert figures["labels_right"] == round(right[split] / labels[split], 4)
        assert figures["golden_right"] is not None
    assert right.total() > 0.85 * labels.total()


def test_evaluation_shares_no_signature_with_training(tables: WorkTables) -> None:
    signatures: dict[bool, set[str]] = {True: set(), False: set()}
    for task in read_records(tables.tasks, Task):
        pipeline = read_pipeline(task.pipeline)
        assert task.problem.features == pipeline.features
        signatures[task.use == "evaluation"].add(pipeline.signature)
        assert pipeline.is_reserved == (task.use == "evaluation")
    assert not signatures[True] & signatures[False]


def test_no_statement_is_drawn_twice_and_depths_have_equal_shares(tables: WorkTables) -> None:
    tasks = list(read_records(tables.tasks, Task))
    assert len({task.problem.problem_id for task in tasks}) == len(tasks) == 40
    assert Counter(task.depth for task in tasks if task.split == "train") == {1: 12, 2: 12}
    assert {task.depth for task in tasks if task.split == "explore"} == {3}


def test_candidates_without_a_program_are_quarantined_and_never_executed(
    tables: WorkTables, layout: SynthLayout
) -> None:
    tasks = list(read_records(tables.tasks, Task))
    candidates = list(read_records(tables.candidates, Candidate))
    faulty = {(c.task_id, c.index): (c.fault, c.response) for c in candidates if c.fault is not None}
    quarantine = list(read_records(tables.quarantine, Quarantined))
    assert {(q.task_id, q.index): (q.reason, q.response) for q in quarantine} == faulty
    assert {reason for reason, _ in faulty.values()} == {"no code block", "does not parse"}
    executed = {(e.task_id, e.program) for e in read_records(tables.executions, Execution)}
    assert not executed & set(faulty)
    identities = {task.task_id: task.problem.problem_id for task in tasks}
    published = {(s.problem_id, s.index) for s in read_records(layout.solutions, Solution)}
    assert not published & {(identities[task], index) for task, index in faulty}


def test_every_distinct_program_of_a_task_is_executed_once(tables: WorkTables) -> None:
    verdicts = {verdict.task_id: verdict for verdict in read_records(tables.verdicts, Verdict)}
    rows = beside(
        "task_id",
        read_records(tables.tasks, Task),
        read_records(tables.candidates, Candidate),
        read_records(tables.executions, Execution),
    )
    for task, candidates, executions in rows:
        runnable = [candidate for candidate in candidates if candidate.fault is None]
        assert len(executions) == len({candidate.code for candidate in runnable})
        assert verdicts[task.task_id].candidates == tuple(candidate.index for candidate in runnable)


def test_the_funnel_adds_up(tables: WorkTables, layout: SynthLayout, small_settings: dict[str, Any]) -> None:
    funnel = json.loads(layout.funnel.read_text())
    assert list(funnel) == list(small_settings["splits"])
    kept = Counter(record.split for record in read_records(layout.memberships, Membership))
    for name, figures in funnel.items():
        made = small_settings["splits"][name]["tasks"]
        assert figures["made"] == made == figures["kept"] + sum(figures["dropped"].values())
        assert figures["kept"] == kept[name] == sum(figures["styles"].values()) == sum(figures["depths"].values())
        assert figures["candidates"] == made * small_settings["candidates_per_task"]
        assert figures["programs"] <= figures["candidates"] - sum(figures["quarantined"].values())
        assert sum(figures["runs"].values()) == figures["programs"] * small_settings["inputs_per_task"]
        assert figures["tests"] + figures["inputs_without_label"] == kept[name] * small_settings["inputs_per_task"]
    assert sum(sum(figures["dropped"].values()) for figures in funnel.values()) > 0


def test_the_stage_is_marked_whole_with_its_funnel(finished_run: Path, layout: SynthLayout) -> None:
    stage = json.loads((finished_run / "stage.json").read_text())
    assert stage["stage"] == "synth" and stage["funnel"] == json.loads(layout.funnel.read_text())


def test_the_sft_dataset_loads_and_holds_accepted_solutions_golden_first(layout: SynthLayout, tmp_path: Path) -> None:
    rows = datasets.load_dataset(str(layout.dataset("sft")), cache_dir=str(tmp_path))["train"]
    assert rows.column_names == [
        "problem_id", "solution_index", "rank", "style", "depth", "is_golden", "pass_rate", "difficulty", "prompt",
        "completion",
    ]  # fmt: skip
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    uses = {record.problem_id: record for record in read_records(layout.memberships, Membership)}
    tests = by_problem(layout.tests, TestCase)
    solutions = {(s.problem_id, s.index): s for s in read_records(layout.solutions, Solution)}
    for row in rows:
        solution = solutions[row["problem_id"], row["solution_index"]]
        assert solution.passed == len(tests[row["problem_id"]])
        assert row["is_golden"] == solution.is_golden == (row["rank"] == 0)
        assert row["prompt"] == render_prompt(problems[row["problem_id"]], "plain")
        assert row["completion"] == [{"role": "assistant", "content": solution.response}]
        assert (uses[row["problem_id"]].use, uses[row["problem_id"]].depth) == ("sft", row["depth"])
    golden = {row["problem_id"] for row in rows if row["rank"] == 0}
    assert golden == {identity for identity, record in uses.items() if record.use == "sft"}
    shown = Counter((row["problem_id"], row["completion"][0]["content"]) for row in rows)
    assert max(shown.values()) == 1


def test_the_rl_dataset_loads_and_carries_no_tests(
    layout: SynthLayout, tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    rows = datasets.load_dataset(str(layout.dataset("rl")), cache_dir=str(tmp_path))["train"]
    assert rows.column_names == [
        "problem_id", "style", "depth", "prompt", "pass_rate", "difficulty", "solvable"
    ]  # fmt: skip
    uses = {record.problem_id: record.use for record in read_records(layout.memberships, Membership)}
    assert {row["problem_id"] for row in rows} == {identity for identity, use in uses.items() if use == "rl"}
    tests, solutions = by_problem(layout.tests, TestCase), by_problem(layout.solutions, Solution)
    for row in rows:
        accepted = [s for s in solutions[row["problem_id"]] if s.passed == len(tests[row["problem_id"]])]
        assert row["pass_rate"] == len(accepted) / small_settings["candidates_per_task"]
        assert row["solvable"] == (len(accepted) > 0)
        assert row["difficulty"] == (
            "easy" if row["pass_rate"] >= 0.9 else "medium" if row["pass_rate"] >= 0.5 else "hard"
        )


def test_the_rl_dataset_holds_no_longer_tail_of_easy_problems_than_asked_for(
    layout: SynthLayout, tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(layout.folder, folder)
    bins = {"easy": 1.0, "hard": 0.0}

    def names(easy_tail: float) -> list[str]:
        difficulty = {"bins": bins, "easy_tail": easy_tail}
        settings = SynthSettings.model_validate({**small_settings, "difficulty": difficulty})
        publish_datasets(settings, WorkTables(folder), SynthLayout(folder), "plain", 11)
        return [row.difficulty for row in read_records(SynthLayout(folder).dataset("rl") / "train.parquet", RlRow)]

    everything, some, none = Counter(names(1)), Counter(names(0.5)), Counter(names(0))
    assert everything["easy"] and everything["hard"]
    assert some == {"easy": min(everything.values()), "hard": everything["hard"]}
    assert none == {"hard": everything["hard"]}


def test_a_card_gives_licence_counts_and_recipe(layout: SynthLayout) -> None:
    card = (layout.dataset("sft") / "README.md").read_text()
    figures = json.loads(layout.funnel.read_text())["train"]
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert f"| tasks kept | {figures['kept']} |" in card and "kept of depth 2" in card
    assert '"candidates_per_task": 4' in card and "labels are right on" in card


def test_fewer_solutions_per_task_are_a_prefix_of_more(
    layout: SynthLayout, tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(layout.folder, folder)
    settings = SynthSettings.model_validate({**small_settings, "solutions_per_task": 2})
    everything = list(read_records(layout.dataset("sft") / "train.parquet", SftRow))
    rows = publish_datasets(settings, WorkTables(folder), SynthLayout(folder), "plain", 11)
    two = list(read_records(SynthLayout(folder).dataset("sft") / "train.parquet", SftRow))
    assert two == [row for row in everything if row.rank < 2] and len(two) == rows["sft"] < len(everything)


@pytest.mark.parametrize(
    ("response", "fault", "code"),
    [
        ("```python\nprint(1)\n```", None, "print(1)\n"),
        ("print(1)", "no code block", ""),
        ("```python\nprint(\n```", "does not parse", "print(\n"),
        ("```python\nx = '\0'\n```", "does not parse", "x = '\0'\n"),
        ("```python\n" + "(" * 500 + ")" * 500 + "\n```", "does not parse", "(" * 500 + ")" * 500 + "\n"),
    ],
)
def test_a_response_without_a_usable_program_has_its_fault_named(response: str, fault: str | None, code: str) -> None:
    candidate = parse_response("000-a-1", 0, response)
    assert (candidate.fault, candidate.code, candidate.response) == (fault, code, response)


def test_records_of_an_unknown_task_are_an_error(tables: WorkTables) -> None:
    tasks = list(read_records(tables.tasks, Task))
    with pytest.raises(RuntimeError, match="does not know"):
        list(beside("task_id", tasks[:-1], read_records(tables.inputs, TaskInputs)))
