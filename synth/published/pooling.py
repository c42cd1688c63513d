"""From rows to problems: the working records, and how rows that state the same problem become one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reward.compare import outputs_match, values_match
from synth.published.rows import Reading
from synth.tables import task_id
from xcoder_core.problem import IoKind, Limits, Problem, problem_id

SHOWN_CHARACTERS = 2_000
"""As much is kept of a row that is set aside; a row may hold megabytes of tests."""

ELSEWHERE = "the problem is in an import that stands before this one"
OTHER_SIGNATURE = "the solution is for another signature than most solutions of the problem"
REPEATED = "the same answer as an earlier row of the problem"
CONFLICT = "all tests are in conflict: one input, several outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow(Reading):
    """What a row states, and where: `rank` is the place of its import in the recipe, `number` its own in the set.

    `statement_key` is the same for rows that state the same problem, however they give its signature.
    """

    statement_key: str
    rank: int
    number: int


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


def pool(rows: Iterable[ReadRow], splits: list[str]) -> tuple[PooledProblem | None, list[FaultyRow]]:
    """The problem of rows with one `statement_key`, in order of rank and number, and the rows that it leaves out.

    Where solutions are for different signatures, the most frequent signature wins, or the earliest of equals. Inputs
    whose outputs the judge tells apart are left out, and the problem too where no other test or solution is left.
    """
    rows = list(rows)
    first = rows[0]
    left_out = [_faulty(row, ELSEWHERE) for row in rows if row.rank != first.rank]
    rows = [row for row in rows if row.rank == first.rank]
    votes = Counter((row.io, row.function_name, row.starter_code) for row in rows)
    (io, name, starter), _ = votes.most_common(1)[0]  # of equals, the one that was counted first
    used: list[ReadRow] = []
    solutions: dict[str, PooledSolution] = {}
    outputs: dict[str, list[PooledTest]] = {}  # by input, at most two: those that differ to the judge
    match = outputs_match if io == "stdin" else values_match
    for row in rows:
        if (row.io, row.function_name, row.starter_code) != (io, name, starter):
            left_out.append(_faulty(row, OTHER_SIGNATURE))
            continue
        used.append(row)
        for given, expected in zip(row.inputs, row.expected, strict=True):
            found = outputs.setdefault(given.rstrip("\r\n"), [])
            if found and (expected == found[0].expected or match(expected, found[0].expected)):
                continue
            if len(found) < 2:
                found.append(PooledTest(given, expected))
        if row.response is not None and row.code is not None:
            if row.response in solutions:
                left_out.append(_faulty(row, REPEATED))
            else:
                model = row.model or splits[row.rank]
                solutions[row.response] = PooledSolution(row.response, row.code, model)
    tests = tuple(found[0] for found in outputs.values() if len(found) == 1)
    if not solutions and not tests:
        return None, left_out + [_faulty(row, CONFLICT) for row in used]
    identity = problem_id(first.statement, io, name, starter)
    pooled = PooledProblem(
        problem_id=identity,
        task_id=task_id(first.rank, splits[first.rank], first.number),
        rank=first.rank,
        statement=first.statement,
        style=first.style,
        io=io,
        function_name=name,
        starter_code=starter,
        solutions=tuple(solutions.values()),
        tests=tests,
        conflicts=len(outputs) - len(tests),
        tests_without_text=sum(row.tests_without_text for row in used),
    )
    return pooled, left_out


def _faulty(row: ReadRow, reason: str) -> FaultyRow:
    return FaultyRow(row.rank, row.number, reason, (row.response or row.statement)[:SHOWN_CHARACTERS])
