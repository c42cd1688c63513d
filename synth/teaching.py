"""What a teacher is, and the stages that ask it for tasks, their test inputs and their candidate solutions.

Each record is asked for once and stored at once; a stage that runs again goes on after the last one.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from synth.config import Style, SynthSettings, count_tasks
from synth.tables import Candidate, Quarantined, Task, TaskInputs, WorkTables, task_id
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits
from xcoder_core.records import RecordStore, read_records
from xcoder_core.seeds import derive_seed
from xcoder_core.terminal import Progress


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task to be made, the `number`th of the run. `depth` is how many operations the procedural teacher composes."""

    number: int
    task_id: str
    split: str
    use: str
    depth: int
    style: Style


class Teacher(Protocol):
    """Answers in any order, one or more at a time; the same question gets the same answer.

    A `Quarantined` is an answer that was set aside: its reason names the question and the fault.
    """

    def tasks(self, orders: Iterable[TaskOrder], limits: Limits, taken: set[str]) -> Iterator[Task | Quarantined]:
        """A task for each order, or why there is none, if possible without the problem ids in `taken`."""

    def inputs(self, tasks: Iterable[Task], count: int) -> Iterator[TaskInputs | Quarantined]:
        """At most `count` different test inputs of each task, after what was set aside on the way to them."""

    def candidates(self, missing: Iterable[tuple[Task, list[int]]]) -> Iterator[list[Candidate]]:
        """A candidate solution for each task and place, some at a time."""

    def close(self) -> None:
        """Let go of what the teacher holds."""


def make_tasks(settings: SynthSettings, teacher: Teacher, tables: WorkTables, seed: int) -> None:
    """Have the tasks of every split made, evaluation first. Raises `InputError` where the teacher makes none at all."""
    store = RecordStore(tables.tasks, Task, ("task_id",))
    if store.is_sealed:
        return
    aside = _set_aside(tables, "tasks")
    taken = {task.problem.problem_id for task in store.pending()}
    lost = {quarantined.task_id for quarantined in aside.pending()}
    orders = (
        order
        for order in _task_orders(settings, seed)
        if order.task_id not in lost and (order.task_id,) not in store.keys
    )
    with Progress("tasks", count_tasks(settings), "tasks", done=len(store.keys) + len(lost)) as progress:
        for outcome in teacher.tasks(orders, settings.limits, taken):
            if isinstance(outcome, Task):
                store.append(outcome)
            else:
                aside.append(outcome)
            progress.advance(1)
    if not len(store.keys):
        first = next(aside.pending())
        raise InputError(
            f"the teacher gave no usable answer for any of the {count_tasks(settings)} tasks, first because of "
            f"{first.reason}. See {tables.folder}/work; try a stronger model, or more max_new_tokens."
        )
    aside.seal()
    store.seal()


def make_inputs(settings: SynthSettings, teacher: Teacher, tables: WorkTables) -> None:
    """Have the test inputs of every task made."""
    store = RecordStore(tables.inputs, TaskInputs, ("task_id",))
    if store.is_sealed:
        return
    aside = _set_aside(tables, "inputs")
    missing = (task for task in read_records(tables.tasks, Task) if (task.task_id,) not in store.keys)
    with Progress("inputs", count_tasks(settings), "tasks", done=len(store.keys)) as progress:
        for outcome in teacher.inputs(missing, settings.inputs_per_task):
            if isinstance(outcome, TaskInputs):
                store.append(outcome)
                progress.advance(1)
            elif (outcome.task_id, outcome.index, outcome.reason) not in aside.keys:
                aside.append(outcome)
    aside.seal()
    store.seal()


def make_candidates(settings: SynthSettings, teacher: Teacher, tables: WorkTables) -> None:
    """Ask for the candidate solutions of every task that has inputs, and take the program out of each answer."""
    store = RecordStore(tables.candidates, Candidate, ("task_id", "index"))
    if store.is_sealed:
        return

    def missing() -> Iterator[tuple[Task, list[int]]]:
        for task, (given,) in tables.by_task("inputs"):
            if not given.inputs:
                continue
            indices = [i for i in range(settings.candidates_per_task) if (task.task_id, i) not in store.keys]
            if indices:
                yield task, indices

    total = count_tasks(settings) * settings.candidates_per_task
    with Progress("candidates", total, "candidates", done=len(store.keys)) as progress:
        for candidates in teacher.candidates(missing()):
            store.extend(candidates)
            progress.advance(len(candidates))
    store.seal()


def _task_orders(settings: SynthSettings, seed: int) -> Iterator[TaskOrder]:
    number = 0
    in_order = sorted(settings.splits.items(), key=lambda item: item[1].use != "evaluation")
    for rank, (name, split) in enumerate(in_order):
        for index in range(split.tasks):
            identity = task_id(rank, name, index)
            depth = split.depth[index % len(split.depth)]
            weights = split.styles or settings.styles
            drawn = random.Random(derive_seed(seed, "style", identity)).choices(list(weights), list(weights.values()))
            yield TaskOrder(number, identity, name, split.use, depth, drawn[0])
            number += 1


def _set_aside(tables: WorkTables, stage: str) -> RecordStore[Quarantined]:
    return RecordStore(tables.set_aside(stage), Quarantined, ("task_id", "index", "reason"))
