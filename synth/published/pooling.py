"""From rows to problems: how rows that state the same problem become one, and the working files of an import.

Those are records that are sorted on disk and merged, and how far reading has come.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Generic

from reward.compare import outputs_match, values_match
from synth.published.rows import Reading
from synth.tables import Quarantined, new_problem, split_of
from xcoder_core.files import atomic_path, read_object, write_json
from xcoder_core.problem import Limits, Problem, Solution, TestCase
from xcoder_core.records import Key, Record, Row, arrow_schema, read_records, to_row

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
    votes = Counter((row.function_name, row.starter_code) for row in rows)
    (name, starter), _ = votes.most_common(1)[0]  # of equals, the one that was counted first
    problem = new_problem(first.statement, first.style, name, starter, limits, split)
    identity = problem.problem_id
    used: list[Reading] = []
    solutions: dict[str, Solution] = {}
    outputs: dict[str, list[tuple[str, str]]] = {}  # by input, at most two: those that differ to the judge
    match = outputs_match if problem.io == "stdin" else values_match
    for row in rows:
        if (row.function_name, row.starter_code) != (name, starter):
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
        problem=replace(problem, difficulty=first.difficulty),
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


ROWS_PER_GROUP = 8192
GROUP_BYTES = 4 << 20
"""Text of a row group. What a reader holds of a table is about one group of it, whatever the table's size."""

RUN_BYTES = 192 << 20
"""Text of a run before it is written: 24 GB make 125 runs."""

RUN_GROUP_BYTES = 128 << 10
"""Text of a run's row group, of which merging holds one for each run; or a single record, where that is larger."""


@contextmanager
def ordered_table(
    path: Path, record_type: type[Record], key: tuple[str, ...], group_bytes: int = GROUP_BYTES
) -> Iterator[Callable[[Record], None]]:
    """What adds a record to a table, in the order of `key` and no key twice.

    The table takes its name when the block ends well, and nothing is left of it otherwise.
    """
    import pyarrow.parquet

    schema = arrow_schema(record_type)
    group: list[Row] = []
    size = 0
    last: Key | None = None

    def flush() -> None:
        nonlocal size
        if group:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
            group.clear()
            size = 0

    def append(record: Record) -> None:
        nonlocal size, last
        row = to_row(record)
        before, last = last, tuple(row[column] for column in key)
        if before is not None and last <= before:
            raise RuntimeError(f"{path} is written in the order of {key}, and {last} came after {before}")
        group.append(row)
        size += size_of(row)
        if size >= group_bytes or len(group) == ROWS_PER_GROUP:
            flush()

    with atomic_path(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield append
        flush()


def size_of(value: object) -> int:
    """About how many bytes a row's values take: characters of text, eight for a number."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return 8


class SortedRuns(Generic[Record]):
    """Runs of records in `folder`, sorted by `key`. `RUN_BYTES` bound what is held, apart from a single record."""

    def __init__(self, folder: Path, record_type: type[Record], key: tuple[str, ...]) -> None:
        self.folder, self.record_type, self.key = folder, record_type, key
        self._key_of = attrgetter(*key)
        self._held: list[Record] = []
        self._bytes = 0

    @property
    def runs(self) -> list[Path]:
        """The finished runs, in the order in which they were written."""
        return sorted(self.folder.glob("run-*.parquet"))

    def append(self, record: Record) -> bool:
        """Hold a record. True when as much is held as a run takes, so that `write` should follow."""
        self._held.append(record)
        self._bytes += size_of(to_row(record))
        return self._bytes >= RUN_BYTES

    def write(self) -> None:
        """Write what is held as the next run."""
        self._held.sort(key=self._key_of)
        path = self.folder / f"run-{len(self.runs):06d}.parquet"
        with ordered_table(path, self.record_type, self.key, RUN_GROUP_BYTES) as append:
            for record in self._held:
                append(record)
        self._held, self._bytes = [], 0

    def merged(self) -> Iterator[Record]:
        """Every record of all runs, in the order of the key."""
        return heapq.merge(*(read_records(run, self.record_type) for run in self.runs), key=self._key_of)

    def count(self) -> int:
        """Records of all runs."""
        from pyarrow.parquet import read_metadata

        return sum(read_metadata(run).num_rows for run in self.runs)

    def keep(self, count: int) -> None:
        """Delete all runs but the first `count`."""
        for run in self.runs[count:]:
            run.unlink()


@dataclass(frozen=True, slots=True)
class Position:
    """The `rows` of each finished set, the number of the next row of the set after them, and of the runs before it."""

    number: int = 0
    runs: int = 0
    rows: Sequence[int] = ()


class ImportWork:
    """Where the working files of an import lie."""

    def __init__(self, folder: Path) -> None:
        self.read = SortedRuns(folder / "readings", Reading, ("statement_key", "task_id"))
        self.faulty = SortedRuns(folder / "faulty_rows", Quarantined, ("task_id",))
        self.pooled = SortedRuns(folder / "problems", PooledProblem, ("problem_id",))
        self.left_out = SortedRuns(folder / "left_out_rows", Quarantined, ("task_id",))
        self.stated = folder / "stated.parquet"
        self._position = folder / "reading-position.json"

    def go_on(self) -> Position:
        """Where a killed run stopped reading; what it left beyond that is thrown away."""
        at = Position(**read_object(self._position))
        self.read.keep(at.runs)
        self.faulty.keep(at.runs)
        return at

    def write_read(self, at: Position) -> None:
        """Write what is held of the rows before `at`, then note that reading has come there."""
        self.faulty.write()
        self.read.write()
        write_json(self._position, asdict(at))

    def remove_runs(self) -> None:
        """Delete the sorted runs, once the tables are made from them."""
        for runs in (self.read, self.faulty, self.pooled, self.left_out):
            runs.keep(0)
