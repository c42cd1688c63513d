"""The whole path of a language model: prompts, a server's answers, parsing, verification, datasets, and the funnel."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import pytest
from openai_server import OpenAIServer
from procedural_model import ProceduralModel
from synthesis_run import digests, result_folder, start, write_recipe

from evaluation.report.stages import difficulty_figures, difficulty_tables, funnel_tables, length_figure
from synth.estimate import estimate, questions_of
from synth.language_model.config import ExpectedSettings
from synth.procedural.task import true_output
from synth.publication import kept_tasks
from synth.tables import Candidate, Execution, Quarantined, Task, TaskInputs, Verdict, WorkTables
from synth.voting import vote_of
from xcoder_core.models.answered import Answer
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records
from xcoder_core.stage import SynthLayout
from xcoder_train.commands.trace import trace_found as trace
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.trace.find import RunResults, find, known_in

SECRETS = {
    "OPENAI_API_KEY": "sk-loopback-0123456789-openai",
    "HF_TOKEN": "hf_loopback0123456789hub",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef0123wandb",
    "XCODER_JUDGE_TOKEN": "a-token-of-the-judge-0123456789",
}


@pytest.fixture(scope="module")
def model() -> ProceduralModel:
    return ProceduralModel()


@pytest.fixture(scope="module")
def server(model: ProceduralModel) -> Iterator[OpenAIServer]:
    with OpenAIServer(answer=model) as serving:
        yield serving


@pytest.fixture(scope="module")
def finished(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result folder of an uninterrupted `xcoder synth`, whose environment is full of secrets."""
    folder = tmp_path_factory.mktemp("loopback")
    recipe = write_recipe(folder, server.base_url)
    recipe.write_text(recipe.read_text().replace("model: model,", "model: model, api_key_env: OPENAI_API_KEY,"))
    with pytest.MonkeyPatch.context() as environment:
        for name, secret in SECRETS.items():
            environment.setenv(name, secret)
        process = start(recipe)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    (folder / "stderr").write_text(errors)
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


def test_the_report_counts_tokens_and_difficulty(finished: Path, funnel: dict[str, Any]) -> None:
    answers = list(read_records(WorkTables(finished).answers("solutions"), Answer))
    length = length_figure(finished)
    assert (
        length is not None and f"Length of {len(answers)} answers with candidate solutions, in tokens" in length.caption
    )
    (table,) = difficulty_tables(finished)
    counted = {use: sum(int(row[1]) for row in table.rows if row[0].startswith(use)) for use in ("SFT", "RL")}
    assert counted == {"SFT": funnel["train"]["kept"], "RL": funnel["explore"]["kept"]}
    assert len(difficulty_figures(finished)) == 2


def test_the_plan_foretells_what_the_run_took(finished: Path) -> None:
    """From what one answer takes; prompts are rendered by the plan itself, and only their statements are unknown."""
    recipe = load_recipe(finished.parents[3] / "recipe.yaml", [])
    assert recipe.synth is not None
    usage = json.loads((finished / "stage.json").read_text())["usage"]
    taken = {name: answered(finished, name) for name in questions_of(recipe.synth)}
    tasks = list(read_records(WorkTables(finished).tasks, Task))
    first, again = (sum(len(kept[attempt]) for kept in taken.values()) for attempt in (0, 1))
    expected = ExpectedSettings(
        completion_tokens={name: fmean([*kept[0], *kept[1]]) for name, kept in taken.items()},  # type: ignore[misc]
        statement_tokens=fmean(len(task.problem.statement.split()) for task in tasks),
        selection_tokens=fmean(len((task.plan or "").split()) for task in tasks),
        characters_per_token=6.0,  # the server counts words
        second_tries=again / first,
    )
    planned = estimate(recipe.synth.model_copy(update={"expected": expected}), recipe.seed)
    for stage, used in usage.items():
        figures = planned.stages[stage]
        assert figures.requests == pytest.approx(used["requests"], rel=0.1)
        assert figures.prompt_tokens == pytest.approx(used["prompt_tokens"], rel=0.15)
        assert figures.completion_tokens == pytest.approx(used["completion_tokens"], rel=0.15)
        assert figures.cost == pytest.approx(used["cost"], rel=0.15)
    executed = sum(len(row.statuses) for row in read_records(WorkTables(finished).executions, Execution))
    assert executed <= planned.executions
    plan = make_plan(finished.parents[3] / "recipe.yaml", [f"synth.expected.measured_in={finished.parents[1]}"])
    for name, from_itself in plan.figures["stages"]["synth"]["estimate"]["stages"].items():
        assert from_itself["requests"] == pytest.approx(usage[name]["requests"], rel=0.05)
        assert from_itself["cost"] == pytest.approx(usage[name]["cost"], rel=0.05)
    shown = plan.text
    assert "core-" in shown and f"{plan.figures['stages']['synth']['estimate']['cost']:,.2f}" in shown


def answered(folder: Path, question: str) -> dict[int, list[int]]:
    """The completion tokens of every answer to a question, by attempt."""
    kept: dict[int, list[int]] = {0: [], 1: []}
    for stage in ("tasks", "inputs", "solutions"):
        for answer in read_records(WorkTables(folder).answers(stage), Answer):
            _, name, attempt = answer.request_id.rsplit("/", 2)
            if name == question:
                kept[int(attempt)].append(answer.completion_tokens)
    return kept


@pytest.mark.slow
def test_a_small_run_foretells_a_larger_one_of_another_seed(
    finished: Path, server: OpenAIServer, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, server.base_url)
    recipe.write_text(recipe.read_text().replace("seed: 5", "seed: 6").replace("tasks: 14", "tasks: 52"))
    (stage,) = (
        value
        for name, value in make_plan(recipe, [f"synth.expected.measured_in={finished}"]).figures["stages"].items()
        if name == "synth"
    )
    process = start(recipe)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    folder = result_folder(tmp_path)
    usage = json.loads((folder / "stage.json").read_text())["usage"]
    for name, used in usage.items():
        planned = stage["estimate"]["stages"][name]
        print(name, {key: (planned[key], used[key]) for key in planned})
        assert planned["requests"] == pytest.approx(used["requests"], rel=0.1)
        assert planned["prompt_tokens"] == pytest.approx(used["prompt_tokens"], rel=0.15)
        assert planned["completion_tokens"] == pytest.approx(used["completion_tokens"], rel=0.15)
    executed = sum(len(row.statuses) for row in read_records(WorkTables(folder).executions, Execution))
    print("executions", stage["estimate"]["executions"], executed)
    assert stage["estimate"]["executions"] == pytest.approx(executed, rel=0.15)


def test_the_datasets_load_and_the_card_names_no_server(finished: Path, tmp_path: Path, server: OpenAIServer) -> None:
    layout = SynthLayout(finished)
    rows = datasets.load_dataset(str(layout.dataset("sft")), cache_dir=str(tmp_path))["train"]
    kept_for_sft = kept_tasks(WorkTables(finished), "sft")
    accepted = sum(len({solution.code for solution in kept.accepted}) for kept in kept_for_sft)
    assert len(rows) == accepted > 0
    card = (layout.dataset("sft") / "README.md").read_text()
    assert server.base_url not in card and "The truth is not known" in card


def test_a_model_that_writes_no_task_at_all_is_named_as_the_fault(tmp_path: Path) -> None:
    with OpenAIServer(answer=lambda messages, parameters: "I cannot help with that.") as serving:
        process = start(write_recipe(tmp_path, serving.base_url))
        _, errors = process.communicate()
    assert process.returncode == 2
    assert "no usable answer for any of the 22 tasks" in errors and "there is no fenced block" in errors


@pytest.mark.slow
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


def test_a_trace_tells_everything_that_the_model_was_asked_about_a_task(finished: Path) -> None:
    asked = {stage: list(read_records(WorkTables(finished).answers(stage), Answer)) for stage in ("tasks", "solutions")}
    for task in read_records(WorkTables(finished).tasks, Task):
        told = trace(find(task.task_id, finished.parents[1], [])).values["synthesis"]
        for stage, answers in asked.items():
            mine = [answer for answer in answers if answer.request_id.startswith(f"{task.task_id}/")]
            questions = [one for one in told["teacher"]["questions"] if one["stage"] == stage]
            assert sum(one["completion_tokens"] for one in questions) == sum(one.completion_tokens for one in mine)
            assert len(questions) == len(mine)
        assert list(told["task"]["feature_uses"]) == list(task.problem.features)
        assert told["task"]["strategy"] == json.loads(task.plan or "")["strategy"]
    shown = trace(find(task.task_id, finished.parents[1], [])).text
    assert "select_features" in shown and "strategy" in shown and max(map(len, shown.split("\n"))) <= 80
    known = [task_id for one in known_in(RunResults(finished.parents[1])) for task_id in one.task_ids]
    assert len(known) == len(set(known))  # what was set aside on the way to a task makes no second one
    lost = next(iter(read_records(WorkTables(finished).set_aside("tasks"), Quarantined)))
    outcome = trace(find(lost.task_id, finished.parents[1], [])).values["synthesis"]["outcome"]
    assert outcome == {"kept": False, "stage": "tasks", "reason": lost.reason}


def test_no_secret_of_the_environment_is_in_any_file_or_message(finished: Path, server: OpenAIServer) -> None:
    assert server.calls[0].headers["authorization"] == f"Bearer {SECRETS['OPENAI_API_KEY']}"  # it was used
    files = [path for path in finished.parents[3].rglob("*") if path.is_file()]
    assert len(files) > 20 and finished.parents[3] / "stderr" in files
    for path in files:
        for secret in SECRETS.values():
            assert secret.encode() not in path.read_bytes(), path
