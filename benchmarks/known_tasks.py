"""Tasks whose truth is known, with the outputs of a right program and of many mistaken ones on every input.

Each program is run once; every experiment then draws candidates from the stored outputs. "Run" means the reference
functions of a pipeline (`Pipeline.answer`), which is what the judge would print for any program that is written from
the pipeline: `tests/benchmarks/test_verification.py` executes a sample in the judge and compares. The difference is
the cost: 20 microseconds instead of 2 milliseconds.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.config import MAXIMUM_DEPTH, Style
from synth.procedural.input_forms import Instance, draw_instance, read_instance
from synth.procedural.pipeline import Pipeline
from synth.procedural.task import draw_inputs, draw_task
from synth.procedural.teacher import mistakes
from xcoder_core.seeds import derive_seed

INPUTS = 20
"""Valid inputs of a task, as many as in the experiment of the paper that the error model is fitted to."""

BROKEN_INPUTS = 4
"""Inputs of a task that break its statement's promises, kept apart from the valid ones."""

MISTAKES = 15
"""Most mistaken programs kept for a task; each differs from the truth on at least one of its inputs."""

CORNER_CASES: tuple[Callable[[Instance], bool], ...] = (
    lambda instance: len(instance.values) >= 10,
    lambda instance: len(instance.values) <= 4,
    lambda instance: len(set(instance.values)) == len(instance.values),
    lambda instance: instance.values[0] == max(instance.values),
)
"""Where a program that is right elsewhere may go wrong: long or short input, no value twice, the largest first."""

Program = Callable[[Instance], Any]
"""What a candidate computes."""

STYLES: tuple[Style, ...] = ("codeforces", "atcoder", "leetcode")


@dataclass(frozen=True)
class KnownTasks:
    """Stored outputs, as numbers: two programs of a task print the same on an input where their numbers are equal.

    `outputs` is [tasks, programs, inputs]; program 0 is right and all its numbers are 0, the rest are mistaken.
    `broken` is [tasks, programs, inputs, 2]: what a program prints on an input that breaks the statement's promises,
    for each of two ways to take it. `programs` counts the programs of a task, `sizes` are characters of input.
    """

    depths: NDArray[np.int64]
    programs: NDArray[np.int64]
    outputs: NDArray[np.int8]
    sizes: NDArray[np.int64]
    broken: NDArray[np.int8]
    broken_sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.depths)


def draw_known_tasks(count: int, seed: int) -> KnownTasks:
    """`count` tasks of depth 1 to 6 in turns, every program executed once on every input."""
    depths = np.array([1 + index % MAXIMUM_DEPTH for index in range(count)])
    programs = np.zeros(count, dtype=np.int64)
    outputs = np.zeros((count, 1 + MISTAKES, INPUTS), dtype=np.int8)
    sizes = np.zeros((count, INPUTS), dtype=np.int64)
    broken = np.zeros((count, 1 + MISTAKES, BROKEN_INPUTS, 2), dtype=np.int8)
    broken_sizes = np.zeros((count, BROKEN_INPUTS), dtype=np.int64)
    for index, depth in enumerate(depths):
        task = draw_task(derive_seed(seed, "task", index), int(depth), STYLES[index % len(STYLES)])
        texts = draw_inputs(task.pipeline, INPUTS, derive_seed(seed, "inputs", index))
        instances = [read_instance(task.pipeline.form, text) for text in texts]
        rng = random.Random(derive_seed(seed, "mistakes", index))
        right: Program = task.pipeline.answer
        pool = [right, *islice(_mistaken_programs(task.pipeline, instances, rng), MISTAKES)]
        programs[index] = len(pool)
        sizes[index] = [len(text) for text in texts]
        for place, instance in enumerate(instances):
            outputs[index, : len(pool), place] = _numbered([_vote(program, instance) for program in pool])
        for place in range(BROKEN_INPUTS):
            readings = _two_readings(draw_instance(task.pipeline.form, rng))
            broken_sizes[index, place] = len(str(readings[0].values))
            said = _numbered([_vote(program, reading) for program in pool for reading in readings])
            broken[index, : len(pool), place] = np.reshape(said, (len(pool), 2))
    return KnownTasks(depths, programs, outputs, sizes, broken, broken_sizes)


def _mistaken_programs(pipeline: Pipeline, instances: list[Instance], rng: random.Random) -> Iterator[Program]:
    """Programs that are wrong on some of the inputs, no two alike on all of them.

    Plain mistakes take turns with mistakes in a corner case. Mistakes in mistaken programs come last: a short task has
    few of the first two.
    """
    seen = {tuple(_vote(pipeline.answer, instance) for instance in instances)}
    first = mistakes(pipeline, rng)
    second = [further for mistaken in first[:4] for further in mistakes(mistaken, rng)]
    for mistaken in (*first, *second):
        corner = rng.choice(CORNER_CASES)
        for program in (mistaken.answer, _wrong_where(corner, mistaken, pipeline)):
            row = tuple(_vote(program, instance) for instance in instances)
            if row not in seen:
                seen.add(row)
                yield program


def _wrong_where(corner: Callable[[Instance], bool], mistaken: Pipeline, pipeline: Pipeline) -> Program:
    return lambda instance: (mistaken if corner(instance) else pipeline).answer(instance)


def _vote(program: Program, instance: Instance) -> str:
    """The answer as text. Only its equality matters, so one form serves both kinds of task."""
    return repr(program(instance))


def _two_readings(instance: Instance) -> tuple[Instance, Instance]:
    """A count line that is one less than the number of values: some programs trust it, others take every value."""
    return instance, Instance(instance.values[:-1], instance.k)


def _numbered(votes: list[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(vote, len(numbers)) for vote in votes]
