"""The working records of an import."""

from dataclasses import dataclass

from xcoder_core.problem import IoKind, Limits, Problem


@dataclass(frozen=True, slots=True)
class ReadRow:
    """What a row states, and where it stands: `rank` is its import's place in the recipe, `number` its own in the set.

    `statement_key` is the same for rows that state the same problem, however they give its signature.
    """

    statement_key: str
    rank: int
    number: int
    statement: str
    style: str
    io: IoKind
    function_name: str | None
    starter_code: str | None
    response: str | None
    code: str | None
    model: str | None
    inputs: tuple[str, ...]
    expected: tuple[str, ...]
    tests_without_text: int


@dataclass(frozen=True, slots=True)
class FaultyRow:
    """A row that was set aside, and the beginning of what it holds."""

    rank: int
    number: int
    reason: str
    shown: str


@dataclass(frozen=True, slots=True)
class PooledSolution:
    """A distinct answer to a problem."""

    response: str
    code: str
    model: str


@dataclass(frozen=True, slots=True)
class PooledTest:
    """A distinct input with its output."""

    input: str
    expected: str


@dataclass(frozen=True, slots=True)
class PooledProblem:
    """A problem with all that the rows that state it hold. `task_id` names the first of those rows.

    `conflicts` counts inputs that were left out because rows give them different outputs, `tests_without_text` tests
    that were left out because their input or output is no text.
    """

    problem_id: str
    task_id: str
    rank: int
    statement: str
    style: str
    io: IoKind
    function_name: str | None
    starter_code: str | None
    solutions: tuple[PooledSolution, ...]
    tests: tuple[PooledTest, ...]
    conflicts: int
    tests_without_text: int

    def problem(self, limits: Limits, source: str) -> Problem:
        """The record that later stages read."""
        return Problem(
            problem_id=self.problem_id,
            statement=self.statement,
            style=self.style,
            io=self.io,
            function_name=self.function_name,
            starter_code=self.starter_code,
            limits=limits,
            source=source,
        )


@dataclass(frozen=True, slots=True)
class StatedTask:
    """A pooled problem as cleaning looks at it."""

    task_id: str
    problem_id: str
    split: str
    statement: str
