"""The stages that ask the teacher: tasks, their test inputs, their candidate solutions.

Each record is asked for once and kept at once; a stage that is run again goes on after the last one.
"""

import ast
import random
import warnings

from reward.extract import extract_code
from synth.config import Style, SynthSettings
from synth.procedural.pipeline import read_pipeline, write_pipeline
from synth.procedural.teacher import NAME, ProceduralTeacher
from synth.tables import Candidate, Task, TaskInputs, WorkTables, ranked_splits, task_id
from xcoder_train.core.problem import Limits
from xcoder_train.core.progress import Progress
from xcoder_train.core.records import RecordStore, read_records
from xcoder_train.core.seeds import derive_seed

MAXIMUM_ATTEMPTS = 100
"""How often a task is drawn anew because its statement is there already; then cleaning removes the duplicate."""


def make_tasks(settings: SynthSettings, teacher: ProceduralTeacher, tables: WorkTables, seed: int) -> None:
    """Draw the tasks of every split, evaluation first, none with a statement that an earlier one has."""
    store = RecordStore(tables.tasks, Task, ("task_id",))
    if store.is_sealed:
        return
    limits = Limits(settings.limit_seconds, settings.limit_memory_mib)
    statements = {task.problem.problem_id for task in store.pending()}
    total = sum(split.tasks for split in settings.splits.values())
    with Progress("tasks", total, "tasks", done=len(store.keys)) as progress:
        for rank, name in enumerate(ranked_splits(settings.splits)):
            split = settings.splits[name]
            for index in range(split.tasks):
                identity = task_id(rank, name, index)
                if (identity,) in store.keys:
                    continue
                depth = split.depth[index % len(split.depth)]
                style = _draw_style(split.styles or settings.styles, derive_seed(seed, "style", identity))
                draws = 0
                for attempt in range(MAXIMUM_ATTEMPTS):
                    drawn = teacher.task(identity, attempt, depth, style, split.use == "evaluation", limits)
                    draws += drawn.draws
                    if drawn.problem.problem_id not in statements:
                        break
                statements.add(drawn.problem.problem_id)
                pipeline = write_pipeline(drawn.pipeline)
                store.append(Task(identity, name, split.use, depth, draws, pipeline, drawn.problem))
                progress.advance(1)
    store.seal()


def make_inputs(settings: SynthSettings, teacher: ProceduralTeacher, tables: WorkTables) -> None:
    """Draw the test inputs of every task."""
    store = RecordStore(tables.inputs, TaskInputs, ("task_id",))
    if store.is_sealed:
        return
    with Progress("inputs", count_tasks(settings), "tasks", done=len(store.keys)) as progress:
        for task in read_records(tables.tasks, Task):
            if (task.task_id,) not in store.keys:
                pipeline = read_pipeline(task.pipeline)
                store.append(TaskInputs(task.task_id, teacher.inputs(task.task_id, pipeline, settings.inputs_per_task)))
                progress.advance(1)
    store.seal()


def make_candidates(settings: SynthSettings, teacher: ProceduralTeacher, tables: WorkTables) -> None:
    """Ask for the candidate solutions of every task and take the program out of each answer."""
    store = RecordStore(tables.candidates, Candidate, ("task_id", "index"))
    if store.is_sealed:
        return
    total = count_tasks(settings) * settings.candidates_per_task
    with Progress("candidates", total, "tasks", done=len(store.keys)) as progress:
        for task in read_records(tables.tasks, Task):
            missing = [i for i in range(settings.candidates_per_task) if (task.task_id, i) not in store.keys]
            if missing:
                responses = teacher.responses(task.task_id, read_pipeline(task.pipeline), missing)
                store.extend(
                    parse_response(task.task_id, index, response)
                    for index, response in zip(missing, responses, strict=True)
                )
                progress.advance(len(missing))
    store.seal()


def parse_response(task: str, index: int, response: str) -> Candidate:
    """The candidate of a response: its last fenced program where there is one that parses, else the fault."""
    code = extract_code(response)
    if code is None:
        return Candidate(task, index, NAME, response, "", "no code block")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Candidate(task, index, NAME, response, code, "does not parse")
    return Candidate(task, index, NAME, response, code, None)


def count_tasks(settings: SynthSettings) -> int:
    """Tasks of all splits together."""
    return sum(split.tasks for split in settings.splits.values())


def _draw_style(weights: dict[Style, float], seed: int) -> Style:
    return random.Random(seed).choices(list(weights), list(weights.values()))[0]
