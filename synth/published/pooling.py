"""From rows to problems: all rows that state the same problem become one, with their solutions or tests pooled."""

from collections import Counter
from collections.abc import Iterable

from reward.compare import outputs_match, values_match
from synth.published.tables import FaultyRow, PooledProblem, PooledSolution, PooledTest, ReadRow
from synth.tables import task_id
from xcoder_core.problem import problem_id

SHOWN_CHARACTERS = 2_000
"""As much is kept of a row that is set aside; a row may hold megabytes of tests."""

ELSEWHERE = "the problem is in an import that stands before this one"
OTHER_SIGNATURE = "the solution is for another signature than most solutions of the problem"
REPEATED = "the same answer as an earlier row of the problem"
CONFLICT = "all tests are in conflict: one input, several outputs"


def pool(rows: Iterable[ReadRow], splits: list[str]) -> tuple[PooledProblem | None, list[FaultyRow]]:
    """The problem of rows with one `statement_key`, in order of rank and number, and the rows that it leaves out.

    Where solutions differ in the signature that they are for, most solutions decide, and the earliest of as many.
    Inputs with outputs that the judge tells apart are left out, and the problem with them where no other test is left.
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
            if (
                not found
                or len(found) == 1
                and expected != found[0].expected
                and not match(expected, found[0].expected)
            ):
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
