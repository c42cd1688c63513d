"""From rows to problems: how rows that state the same problem become one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reward.compare import outputs_match, values_match
from synth.published.rows import Reading
from synth.tables import Quarantined, split_of
from xcoder_core.problem import Limits, Problem, Solution, TestCase, problem_id

SHOWN_CHARACTERS = 2_000
"""As much is kept of a row that is set aside; a row may hold megabytes of tests."""

ELSEWHERE = "the problem is in an import that stands before this one"
OTHER_SIGNATURE = "the solution is for another signature than most solutions of the problem"
REPEATED = "the same answer as an earlier row of the problem"
CONFLICT = "all tests are in conflict: one input, several outputs"


@dataclass(frozen=True, slots=True)
class PooledProblem:
    """A problem with all that the rows that state it hold. `task_id` names the first of those rows.

    `conflicts` counts inputs that were left out because rows give them different outputs, `tests_without_text` tests
    that were left out because their input or output is no text.
    """

    problem_id: str
    task_id: str
    problem: Problem
    solutions: tuple[Solution, ...]
    tests: tuple[TestCase, ...]
    conflicts: int
    tests_without_text: int


def pool(rows: Iterable[Reading], limits: Limits) -> tuple[PooledProblem | None, list[Quarantined]]:
    """The problem of rows with one `statement_key`, in the order of their ids, and the rows that it leaves out.

    Where solutions are for different signatures, the most frequent signature wins, or the earliest of equals. Inputs
    whose outputs the judge tells apart are left out, and the problem too where no other test or solution is left.
    """
    rows = list(rows)
    first, split = rows[0], split_of(rows[0].task_id)
    left_out = [_left_out(row, ELSEWHERE) for row in rows if split_of(row.task_id) != split]
    rows = [row for row in rows if split_of(row.task_id) == split]
    votes = Counter((row.io, row.function_name, row.starter_code) for row in rows)
    (io, name, starter), _ = votes.most_common(1)[0]  # of equals, the one that was counted first
    identity = problem_id(first.statement, io, name, starter)
    used: list[Reading] = []
    solutions: dict[str, Solution] = {}
    outputs: dict[str, list[tuple[str, str]]] = {}  # by input, at most two: those that differ to the judge
    match = outputs_match if io == "stdin" else values_match
    for row in rows:
        if (row.io, row.function_name, row.starter_code) != (io, name, starter):
            left_out.append(_left_out(row, OTHER_SIGNATURE))
            continue
        used.append(row)
        for given, expected in zip(row.inputs, row.expected, strict=True):
            found = outputs.setdefault(given.rstrip("\r\n"), [])
            if found and (expected == found[0][1] or match(expected, found[0][1])):
                continue
            if len(found) < 2:
                found.append((given, expected))
        if row.response is not None and row.code is not None:
            if row.response in solutions:
                left_out.append(_left_out(row, REPEATED))
            else:
                index = len(solutions)
                solutions[row.response] = Solution(identity, index, row.code, row.response, row.model or split)
    tests = [found[0] for found in outputs.values() if len(found) == 1]
    if not solutions and not tests:
        return None, left_out + [_left_out(row, CONFLICT) for row in used]
    pooled = PooledProblem(
        problem_id=identity,
        task_id=first.task_id,
        problem=Problem(
            problem_id=identity,
            statement=first.statement,
            style=first.style,
            io=io,
            function_name=name,
            starter_code=starter,
            limits=limits,
            source=split,
        ),
        solutions=tuple(solutions.values()),
        tests=tuple(TestCase(identity, index, *test, origin="published") for index, test in enumerate(tests)),
        conflicts=len(outputs) - len(tests),
        tests_without_text=sum(row.tests_without_text for row in used),
    )
    return pooled, left_out


def set_aside(task_id: str, reason: str, shown: str) -> Quarantined:
    """A row that becomes no part of a problem, and the beginning of what it holds."""
    text = shown[:SHOWN_CHARACTERS].encode("utf-8", "replace").decode()
    return Quarantined(task_id, -1, split_of(task_id), reason, text)


def _left_out(row: Reading, reason: str) -> Quarantined:
    return set_aside(row.task_id, reason, row.response or row.statement)
