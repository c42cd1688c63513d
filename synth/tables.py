"""The working tables of synthesis, one record for each thing done, and how they are read side by side.

A task's id starts with the rank of its split, so that table order is the order of precedence: evaluation splits first,
then the others in the order of the recipe.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, repeat
from operator import attrgetter
from pathlib import Path
from typing import Any

from xcoder_core.problem import IoKind, Limits, Origin, Problem, problem_id
from xcoder_core.records import read_records
from xcoder_core.stage import Below


@dataclass(frozen=True, slots=True)
class Task:
    """A problem with what it was made from, and the draws that it took.

    `pipeline` (JSON) is what a task of the procedural teacher computes; the truth is known where there is one. `plan`
    (JSON) is what a language model made the task from: the subtree, the features that it chose, and its strategy.
    """

    task_id: str
    split: str
    use: str
    depth: int
    draws: int
    pipeline: str | None
    problem: Problem
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """The test inputs of a task, with what a language model wrote for them (empty or None with the procedural teacher).

    `origins` and `categories` have one entry per input. `refused` has a reason for each input that was dropped.
    `generator`, `validator` and `brute_force` are programs.
    """

    task_id: str
    inputs: tuple[str, ...]
    origins: tuple[Origin, ...] = ()
    categories: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    generator: str | None = None
    validator: str | None = None
    brute_force: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of the teacher. `fault` says why it holds no usable program; it is None where `code` is one."""

    task_id: str
    index: int
    model: str
    response: str
    code: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class Execution:
    """What one program did on every input of its task. `program` is the index of the first candidate that wrote it.

    `outputs` holds the output of each run whose status is "OK", and "" for the others.
    """

    task_id: str
    program: int
    statuses: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExecutionTimes:
    """CPU seconds of every run of an `Execution`, in a table beside it: measured, so no two runs have the same."""

    task_id: str
    program: int
    cpu_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What was set aside and why: a candidate, or (index -1) a task or an answer about it."""

    task_id: str
    index: int
    split: str
    reason: str
    response: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of dual verification of one task; `reason` is None where the task is kept.

    `tests` are the places of the inputs that got a label, each with label, agreement and weight; `golden` is the index
    of the elected candidate. `labels_right` and `golden_right` compare with the teacher's truth, None where it is not
    known; they decide nothing. `agreement` is the share of all candidates that gave the leading label, averaged over
    all inputs. `limit_seconds` is the calibrated time limit, None where the task keeps its first one.
    """

    task_id: str
    problem_id: str
    split: str
    statement: str
    reason: str | None
    tests: tuple[int, ...]
    labels: tuple[str, ...]
    agreements: tuple[float, ...]
    weights: tuple[int, ...]
    candidates: tuple[int, ...]
    passed: tuple[int, ...]
    scores: tuple[float, ...]
    golden: int | None
    labels_right: int | None
    golden_right: bool | None
    agreement: float = 0.0
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StatedTask:
    """What cleaning looks at: a verified task, or an imported problem."""

    task_id: str
    problem_id: str
    split: str
    statement: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A verified task that cleaning took out, and the earlier task that it duplicates."""

    task_id: str
    problem_id: str
    split: str
    reason: str
    partner_task_id: str
    partner_problem_id: str
    similarity: float


@dataclass(frozen=True)
class Table(Below):
    """The path of a table of these records."""

    record_type: type


@dataclass(frozen=True)
class WorkTables:
    """The paths of the working tables in the stage's folder."""

    folder: Path

    tasks = Table("work/tasks.parquet", Task)
    inputs = Table("work/inputs.parquet", TaskInputs)
    candidates = Table("work/candidates.parquet", Candidate)
    executions = Table("work/executions.parquet", Execution)
    execution_times = Table("timings/executions.parquet", ExecutionTimes)
    brute_force = Table("work/brute_force.parquet", Execution)
    """Of brute-force solutions, on small inputs only."""
    failures = Table("work/failures.parquet", Quarantined)
    """Tasks that the judge could not execute."""
    verdicts = Table("work/verdicts.parquet", Verdict)
    quarantine = Table("quarantine.parquet", Quarantined)
    removals = Table("removals.parquet", Removal)
    features = Below("features")
    """Folder of the feature tree and of what a language model answered about features."""

    def set_aside(self, stage: str) -> Path:
        """`Quarantined` records: answers of a language model in that stage that could not be used."""
        return self.folder / "work" / f"{stage}-set-aside.parquet"

    def answers(self, stage: str) -> Path:
        """`Answer` records: everything that a language model answered in that stage."""
        return self.folder / "work" / "answers" / f"{stage}.parquet"

    def by_task(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Each task with a list of its records from each of these tables, such as "inputs" and "candidates"."""
        tables = (read_records(getattr(self, name), vars(WorkTables)[name].record_type) for name in names)
        return beside("task_id", read_records(self.tasks, Task), *tables)


def new_problem(
    statement: str,
    style: str,
    function_name: str | None,
    starter_code: str | None,
    limits: Limits,
    source: str,
    features: tuple[str, ...] = (),
) -> Problem:
    """A problem under its id: a function problem where it names a function."""
    io: IoKind = "stdin" if function_name is None else "function"
    identity = problem_id(statement, io, function_name, starter_code)
    shown = (statement, style, io, function_name, starter_code)
    return Problem(identity, *shown, features=features, limits=limits, source=source)


def task_id(rank: int, split: str, index: int) -> str:
    """The name of a task of a split; names sort by rank, then index."""
    return f"{rank:03d}-{split}-{index:08d}"


def split_of(task: str) -> str:
    """The split in a task's name."""
    return task.split("-", 1)[1].rpartition("-")[0]


def beside(column: str, records: Iterable[Any], *tables: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Each record with a list of those of each table that have its `column`, by which all are sorted."""
    streams = [zip(repeat(place), table) for place, table in enumerate((records, *tables))]
    name_of = attrgetter(column)
    merged = heapq.merge(*streams, key=lambda placed: name_of(placed[1]))
    for name, group in groupby(merged, key=lambda placed: name_of(placed[1])):
        row: list[list[Any]] = [[] for _ in streams]
        for place, record in group:
            row[place].append(record)
        if not row[0]:
            raise RuntimeError(f"a table holds records of {name}, which the table beside it does not know")
        yield row[0][0], *row[1:]
