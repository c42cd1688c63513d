"""The whole path of a language model: prompts, a server's answers, parsing, verification, datasets, and the funnel."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from openai_server import OpenAIServer
from procedural_model import ProceduralModel, operation_tree

from evaluation.report.synthesis import funnel_tables
from synth.features.tree import write_tree
from synth.procedural.task import true_output
from synth.publication import kept_problems
from synth.tables import Candidate, Quarantined, TaskInputs, Verdict, WorkTables
from synth.voting import vote_of
from xcoder_train.core.generation.answered import Answer
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.problem import Problem, TestCase
from xcoder_train.core.records import read_records

PROJECT = Path(__file__).parents[3]

RECIPE = """
name: loopback
runs_dir: {runs}
seed: 5
judge: {{workers: 2}}
synth:
  teacher:
    kind: openai
    server: {{base_url: "{url}", model: model, max_concurrency: 16, prompt_price: 1.0, completion_price: 10.0}}
  features:
    source: {{kind: tree, path: {tree}}}
    shape: {{root: [1, 1], inner: [3, 3], leaves: [2, 2], minimum_leaves: 4}}
  styles: {{codeforces: 0.5, atcoder: 0.2, leetcode: 0.3}}
  splits:
    train: {{use: sft, tasks: 14}}
    explore: {{use: rl, tasks: 4}}
    heldout: {{use: evaluation, tasks: 4}}
  inputs_per_task: 8
  candidates_per_task: 6
  limit_seconds: 1.0
"""


def start(recipe: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "xcoder_train.cli", "synth", str(recipe)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def write_recipe(folder: Path, url: str) -> Path:
    tree, recipe = folder / "tree.json", folder / "recipe.yaml"
    write_tree(tree, operation_tree())
    recipe.write_text(RECIPE.format(runs=folder / "runs", url=url, tree=tree))
    return recipe


def result_folder(folder: Path) -> Path:
    (result,) = (folder / "runs" / "loopback" / "synth").iterdir()
    return result


@pytest.fixture(scope="module")
def model() -> ProceduralModel:
    return ProceduralModel()


@pytest.fixture(scope="module")
def server(model: ProceduralModel) -> Iterator[OpenAIServer]:
    with OpenAIServer(answer=model) as serving:
        yield serving


@pytest.fixture(scope="module")
def finished(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result folder of an uninterrupted `xcoder synth`."""
    folder = tmp_path_factory.mktemp("loopback")
    process = start(write_recipe(folder, server.base_url))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return result_folder(folder)


@pytest.fixture(scope="module")
def funnel(finished: Path) -> dict[str, Any]:
    return json.loads(SynthLayout(finished).funnel.read_text())


def test_verified_labels_and_golden_solutions_are_right(finished: Path, model: ProceduralModel) -> None:
    layout = SynthLayout(finished)
    tests: dict[str, list[TestCase]] = {}
    for test in read_records(layout.tests, TestCase):
        tests.setdefault(test.problem_id, []).append(test)
    right = labels = 0
    for problem in read_records(layout.problems, Problem):
        pipeline = model.pipelines[problem.statement]
        for test in tests[problem.problem_id]:
            labels += 1
            truth = true_output(pipeline, test.input)
            right += vote_of(test.expected or "", problem.io) == vote_of(truth, problem.io)
    assert labels > 60
    assert right / labels > 0.95


def test_a_test_says_who_made_its_input_and_none_is_out_of_bounds(finished: Path) -> None:
    tests = list(read_records(SynthLayout(finished).tests, TestCase))
    assert Counter(test.origin for test in tests).keys() == {"prompt", "generator"}
    inputs = list(read_records(WorkTables(finished).inputs, TaskInputs))
    checked = [given for given in inputs if given.validator is not None]
    assert not any("1000000" in text for given in checked for text in given.inputs)
    assert any("validator refused: a value is out of bounds" in given.refused for given in checked)
    assert {category for given in inputs for category in given.categories} == {"small", "medium", "large", "edge"}


def test_function_tasks_carry_starter_code_and_pass(finished: Path) -> None:
    problems = [
        problem for problem in read_records(SynthLayout(finished).problems, Problem) if problem.io == "function"
    ]
    assert problems
    for problem in problems:
        assert problem.style == "leetcode" and problem.function_name == "solve"
        assert (problem.starter_code or "").startswith("class Solution:\n    def solve(self, ")


def test_an_answer_that_cannot_be_read_is_asked_again_with_the_error_then_set_aside(
    finished: Path, server: OpenAIServer
) -> None:
    tables = WorkTables(finished)
    again = [call.asked for call in server.calls if "cannot be used" in call.asked or "could not be used" in call.asked]
    errors = (
        "no code block",
        "no fenced block",
        "was cut short",
        "does not parse",
        "of four backticks",
        "not valid JSON",
    )
    assert len(again) > 10 and not [asked for asked in again if not any(error in asked for error in errors)]
    asked = Counter(
        answer.request_id.rpartition("/")[0]
        for stage in ("tasks", "inputs", "solutions")
        for answer in read_records(tables.answers(stage), Answer)
    )
    assert max(asked.values()) == 2
    faulty = [candidate for candidate in read_records(tables.candidates, Candidate) if candidate.fault is not None]
    quarantine = list(read_records(tables.quarantine, Quarantined))
    assert {(q.task_id, q.index) for q in quarantine if q.index >= 0} == {(c.task_id, c.index) for c in faulty}
    assert all(asked[f"{c.task_id}/{c.index}/write_solution"] == 2 for c in faulty)
    assert {q.reason.partition(":")[0] for q in quarantine if q.index < 0} <= {
        "select_features", "write_task", "write_inputs", "write_generator", "write_validator", "write_brute_force"
    }  # fmt: skip


def test_what_a_model_is_shown_of_a_task_holds_no_draft_and_the_response_keeps_its_reasoning(finished: Path) -> None:
    rows = list(read_records(WorkTables(finished).candidates, Candidate))
    usable = [candidate for candidate in rows if candidate.fault is None]
    assert usable and all("draft" not in candidate.code for candidate in usable)
    assert all(candidate.response.startswith("<think>\n") and candidate.model == "model" for candidate in usable)


def test_the_truth_is_not_known_and_the_funnel_says_so(finished: Path, funnel: dict[str, Any]) -> None:
    for verdict in read_records(WorkTables(finished).verdicts, Verdict):
        assert verdict.labels_right is None and verdict.golden_right is None
    for name, tasks in {"train": 14, "explore": 4, "heldout": 4}.items():
        figures = funnel[name]
        never_made = sum(figures["set_aside"].get(reason, 0) for reason in ("select_features", "write_task"))
        assert figures["made"] + never_made == tasks
        assert figures["made"] == figures["kept"] + sum(figures["dropped"].values())
        assert figures["labels_right"] is None and figures["golden_right"] is None
    assert sum(figures["kept"] for figures in funnel.values()) > 11


def test_usage_is_counted_for_each_stage_with_its_price(finished: Path, server: OpenAIServer) -> None:
    stage = json.loads((finished / "stage.json").read_text())
    manifest = json.loads((finished.parents[1] / "manifest.json").read_text())
    assert manifest["stages"]["synth"]["figures"]["usage"] == stage["usage"]
    tables = WorkTables(finished)
    for name in ("tasks", "inputs", "solutions"):
        answers = list(read_records(tables.answers(name), Answer))
        used = stage["usage"][name]
        assert used["requests"] == len(answers) > 0
        assert used["completion_tokens"] == sum(answer.completion_tokens for answer in answers)
        assert used["cost"] == pytest.approx((used["prompt_tokens"] + 10 * used["completion_tokens"]) / 1e6)


def test_the_report_shows_what_was_set_aside_and_what_it_took(finished: Path, funnel: dict[str, Any]) -> None:
    tables = {table.title: table for table in funnel_tables(finished)}
    steps = [row[0] for row in tables["Tasks, from made to kept"].rows]
    assert "inputs refused: validator refused" in steps
    assert {step for step in steps if step.startswith("set aside")} == {
        f"set aside: {reason}" for figures in funnel.values() for reason in figures["set_aside"]
    }
    assert [row[0] for row in tables["Quality of labels"].rows] == ["mean agreement on a label"]
    assert [row[0] for row in tables["What the teacher took"].rows] == ["tasks", "inputs", "solutions"]


def test_the_datasets_load_and_the_card_names_no_server(finished: Path, tmp_path: Path, server: OpenAIServer) -> None:
    layout = SynthLayout(finished)
    rows = datasets.load_dataset(str(layout.dataset("sft")), cache_dir=str(tmp_path))["train"]
    accepted = sum(
        len({solution.code for solution in kept.accepted})
        for kept in kept_problems(layout)
        if kept.membership.use == "sft"
    )
    assert len(rows) == accepted > 0
    card = (layout.dataset("sft") / "README.md").read_text()
    assert server.base_url not in card and "The truth is not known" in card


def test_a_model_that_writes_no_task_at_all_is_named_as_the_fault(tmp_path: Path) -> None:
    with OpenAIServer(answer=lambda messages, parameters: "I cannot help with that.") as serving:
        process = start(write_recipe(tmp_path, serving.base_url))
        _, errors = process.communicate()
    assert process.returncode == 2
    assert "no usable answer for any of the 22 tasks" in errors and "there is no fenced block" in errors


def test_killed_again_and_again_it_asks_nothing_twice_and_leaves_the_same_bytes(
    finished: Path, model: ProceduralModel, tmp_path: Path
) -> None:
    concurrency, killed = 16, 0
    with OpenAIServer(answer=model, seconds_per_token=0.0005) as serving:
        recipe = write_recipe(tmp_path, serving.base_url)
        for answered in (10, 60, 140, 220):
            process = start(recipe)
            while sum(call.answered for call in serving.calls) < answered and process.poll() is None:
                time.sleep(0.01)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
        process = start(recipe)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert killed >= 3
    asked = Counter(json.dumps([call.body["messages"], call.body["seed"]]) for call in serving.calls)
    # A request handed over when the kill came may have been answered and not kept.
    assert sum(times - 1 for times in asked.values()) <= killed * 2 * concurrency
    kept = sum(
        1
        for stage in ("tasks", "inputs", "solutions")
        for _ in read_records(WorkTables(result_folder(tmp_path)).answers(stage), Answer)
    )
    assert len(asked) == kept
    assert digests(result_folder(tmp_path)) == digests(finished)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
        if path.parent.name != "timings"
    }
