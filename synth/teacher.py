"""What synthesis asks of a teacher, whoever it is: streams of orders in, streams of what it wrote out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from synth.config import Style
from synth.tables import Candidate, Quarantined, Task, TaskInputs
from xcoder_core.problem import Limits


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
    """Answers in any order, one or more at a time; what is asked again gives the same answer, or the kept one.

    A `Quarantined` is an answer that was set aside: its reason says what was asked and why nothing came of it.
    """

    def tasks(self, orders: Iterable[TaskOrder], limits: Limits, taken: set[str]) -> Iterator[Task | Quarantined]:
        """A task for each order, or why there is none. `taken` are problem ids that the run has already.

        A teacher that can draw a task anew avoids them; what a model writes twice is removed by cleaning.
        """

    def inputs(self, tasks: Iterable[Task], count: int) -> Iterator[TaskInputs | Quarantined]:
        """At most `count` different test inputs of each task, after what was set aside on the way to them."""

    def candidates(self, missing: Iterable[tuple[Task, list[int]]]) -> Iterator[list[Candidate]]:
        """A candidate solution for each task and place, some at a time."""

    def close(self) -> None:
        """Let go of what the teacher holds."""
