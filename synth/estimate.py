"""What a synthesis will take, before it is begun: questions, tokens and cost by stage, executions and judge hours.

The figures of one answer come from `synth.expected` or from a finished small run. A question is asked at most twice,
so where a share r is asked again, r² of the answers are lost. A task whose selection or statement cannot be read is
never made.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synth.config import ProceduralTeacherSettings, SynthSettings, count_tasks
from synth.features.stage import given_tree
from synth.features.subtrees import draw_subtrees
from synth.features.tree import seed_tree
from synth.language_model.config import ExpectedSettings, OpenAITeacherSettings
from synth.language_model.inputs import SPARE
from synth.language_model.questions import generated_count
from synth.prompts import render, retry_messages
from synth.tables import ExecutionTimes, WorkTables
from synth.verification import NO_INPUTS
from xcoder_core.errors import InputError
from xcoder_core.models.prompt import Message
from xcoder_core.records import read_records, read_table
from xcoder_core.stage import RESULT_FILE, SynthLayout

STAGE_OF = {"select_features": "tasks", "write_task": "tasks", "write_solution": "solutions"}
"""The stage that asks a question; all others are asked by `inputs`."""

SUBTREES = 50
"""Subtrees that the length of a list of features is averaged over."""


@dataclass(frozen=True)
class Answered:
    """Averages over the requests of one question: tokens, and the share of first tries that were asked again."""

    prompt_tokens: float
    completion_tokens: float
    second_tries: float


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take of the teacher."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


@dataclass(frozen=True)
class Estimate:
    """What a run will take: `executions` of candidates, `helper_runs` of programs that make and check inputs."""

    based_on: str
    stages: dict[str, StageEstimate]
    executions: int
    helper_runs: int
    judge_core_hours: float

    @property
    def cost(self) -> float:
        """Of all stages."""
        return sum(stage.cost for stage in self.stages.values())


def estimate(settings: SynthSettings, seed: int) -> Estimate:
    """The estimate for the tasks of all splits, without extraction and evolution of features.

    The procedural teacher takes no stage. Raises `InputError` where `expected.measured_in` holds no finished synthesis
    by a language model.
    """
    expected = settings.expected
    tasks = count_tasks(settings)
    runs_per_task = float(settings.candidates_per_task * settings.inputs_per_task)
    with_inputs, cpu_seconds = 1.0, expected.execution_cpu_seconds
    based_on = "the settings of synth.expected"
    answered: dict[str, Answered] = {}
    if expected.measured_in is not None:
        folder = _finished(expected.measured_in)
        based_on = f"the averages of {folder}"
        answered, with_inputs, runs_per_task, seconds = _measured(folder)
        cpu_seconds = cpu_seconds if seconds is None else seconds
    else:
        answered = _expected_answers(settings, seed)
    if isinstance(settings.teacher, ProceduralTeacherSettings):
        executions = round(tasks * runs_per_task)
        return Estimate(based_on, {}, executions, 0, executions * cpu_seconds / 3600)
    requests, made = _requests(settings, answered)
    requests["write_solution"] *= with_inputs
    stages = {}
    for stage in ("tasks", "inputs", "solutions"):
        asked = {name: count for name, count in requests.items() if STAGE_OF.get(name, "inputs") == stage}
        prompt = round(sum(count * answered[name].prompt_tokens for name, count in asked.items()))
        completion = round(sum(count * answered[name].completion_tokens for name, count in asked.items()))
        server = settings.teacher.server if isinstance(settings.teacher, OpenAITeacherSettings) else None
        cost = 0.0 if server is None else server.cost(prompt, completion)
        stages[stage] = StageEstimate(round(sum(asked.values())), prompt, completion, cost)
    executions, helpers = round(made * runs_per_task), round(made * _helper_runs(settings))
    return Estimate(based_on, stages, executions, helpers, (executions + helpers) * cpu_seconds / 3600)


def questions_of(settings: SynthSettings) -> dict[str, int]:
    """How often a language model is asked each question for one task, second tries left out."""
    if isinstance(settings.teacher, ProceduralTeacherSettings):
        return {}
    inputs, generated = settings.inputs, generated_count(settings.inputs_per_task, settings.inputs)
    wanted = {
        "select_features": int(settings.tasks.stages == 2),
        "write_task": 1,
        "write_inputs": int(generated < settings.inputs_per_task),
        "write_generator": int(generated > 0),
        "write_validator": int(inputs.validator),
        "write_brute_force": int(inputs.brute_force),
        "write_solution": settings.candidates_per_task,
    }
    return {name: count for name, count in wanted.items() if count}


def _requests(settings: SynthSettings, answered: dict[str, Answered]) -> tuple[dict[str, float], float]:
    """How often each question is asked in all, second tries counted, and how many tasks are made."""
    requests: dict[str, float] = {}
    alive = float(count_tasks(settings))
    for name, count in questions_of(settings).items():
        if name not in answered:
            raise InputError(f"the run of synth.expected.measured_in never asked `{name}`: name another run")
        again = answered[name].second_tries
        requests[name] = alive * count * (1 + again)
        if STAGE_OF.get(name) == "tasks":
            alive *= 1 - again**2
    return requests, alive


def _helper_runs(settings: SynthSettings) -> int:
    """Runs of one task's generator, validator and brute force, where nothing is lost."""
    generated = generated_count(settings.inputs_per_task, settings.inputs)
    printed = SPARE * generated
    runs = printed + 1 if generated else 0
    if settings.inputs.validator:
        runs += settings.inputs_per_task - generated + printed
    return runs + (settings.inputs_per_task + 1) // 2 * settings.inputs.brute_force


def _expected_answers(settings: SynthSettings, seed: int) -> dict[str, Answered]:
    """From the settings: the prompts are rendered without what is not known yet, whose tokens are added."""
    expected = settings.expected
    shown = {"select_features": 0.0, "write_task": expected.selection_tokens}
    answered = {}
    for name in questions_of(settings):
        messages = list(_prompts(name, settings, seed))
        prompt = sum(_tokens(one, expected) for one in messages) / len(messages)
        prompt += shown.get(name, expected.statement_tokens)
        completion = expected.completion_tokens[name]  # type: ignore[index]
        again = expected.second_tries
        longer = 0.0 if name == "write_solution" else _tokens(retry_messages([], "", ""), expected)
        mean = prompt + longer * again / (1 + again)
        answered[name] = Answered(mean, completion, again)
    return answered


def _prompts(name: str, settings: SynthSettings, seed: int) -> Iterator[list[Message]]:
    """The prompts of a question, statement and selection left empty: one of each style, or of some subtrees."""
    if name == "select_features":
        # What is yet to be extracted, and rows, are about as long as the tree of the package.
        tree = given_tree(settings.features) or seed_tree()
        for subtree in draw_subtrees(tree, settings.features.shape, SUBTREES, seed):
            yield render(name, features=subtree.leaves, mandatory=())
    elif name == "write_task":
        for style in settings.styles:
            yield render(name, style=style, features=[], strategy="" if settings.tasks.stages == 1 else " ")
    else:
        count = settings.inputs_per_task - generated_count(settings.inputs_per_task, settings.inputs)
        yield render(name, statement="", starter_code=None, count=count, error=None)


def _tokens(messages: list[Message], expected: ExpectedSettings) -> float:
    return sum(len(message["content"]) for message in messages) / expected.characters_per_token


def _finished(given: Path) -> Path:
    """The synthesis in a folder, or the newest of a run's. Raises `InputError`."""
    finished = [path.parent for path in (given / RESULT_FILE, *given.glob(f"synth/*/{RESULT_FILE}")) if path.is_file()]
    finished = [folder for folder in finished if WorkTables(folder).answers("solutions").exists()]
    if not finished:
        raise InputError(
            f"synth.expected.measured_in: {given} holds no finished synthesis by a language model; expected the folder "
            "of a run, or of its synthesis"
        )
    return max(finished, key=lambda folder: (folder / RESULT_FILE).stat().st_mtime_ns)


def _measured(folder: Path) -> tuple[dict[str, Answered], float, float, float | None]:
    """Averages of each question; of the tasks made, the share that got inputs; executions for each, and CPU seconds of
    one (None where none was timed)."""
    answered: dict[str, Answered] = {}
    tables = WorkTables(folder)
    for stage in ("tasks", "inputs", "solutions"):
        answered |= _answered(tables.answers(stage))
    funnel = json.loads(SynthLayout(folder).funnel.read_text(encoding="utf-8")).values()
    made, runs = sum(split["made"] for split in funnel), sum(sum(split["runs"].values()) for split in funnel)
    timed, seconds = 0, 0.0
    if tables.execution_times.exists():
        for row in read_records(tables.execution_times, ExecutionTimes):
            timed, seconds = timed + len(row.cpu_seconds), seconds + sum(row.cpu_seconds)
    without = sum(split["dropped"].get(NO_INPUTS, 0) for split in funnel)
    return answered, 1 - without / max(made, 1), runs / max(made, 1), seconds / timed if timed else None


def _answered(path: Path) -> dict[str, Answered]:
    import pyarrow
    import pyarrow.compute as compute

    table = read_table(path, ["request_id", "prompt_tokens", "completion_tokens"])
    parts = compute.extract_regex(table["request_id"], r"/(?P<question>[a-z_]+)/(?P<attempt>[0-9]+)$").combine_chunks()
    table = table.append_column("question", parts.field("question"))
    table = table.append_column("again", compute.not_equal(parts.field("attempt"), "0").cast(pyarrow.int64()))
    sums = table.group_by("question").aggregate(
        [("prompt_tokens", "mean"), ("completion_tokens", "mean"), ("again", "sum"), ("again", "count")]
    )
    return {
        row["question"]: Answered(
            row["prompt_tokens_mean"],
            row["completion_tokens_mean"],
            row["again_sum"] / (row["again_count"] - row["again_sum"]),
        )
        for row in sums.to_pylist()
    }
