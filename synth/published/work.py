"""The working files of an import: records that are sorted on disk and merged, and how far reading has come."""

import heapq
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from synth.published.pooling import PooledProblem
from synth.published.rows import Reading
from synth.tables import Quarantined
from xcoder_core.files import write_json
from xcoder_core.ordered_table import ordered_table, size_of
from xcoder_core.records import read_records, to_row

Record = TypeVar("Record")

RUN_BYTES = 192 << 20
"""Text of a run before it is written: 24 GB make 125 runs."""

GROUP_BYTES = 128 << 10
"""Text of a run's row group, of which merging holds one for each run; or a single record, where that is larger."""


class SortedRuns(Generic[Record]):
    """Runs of records in `folder`, sorted by `key`. `run_bytes` bounds what is held, apart from a single record."""

    def __init__(
        self, folder: Path, record_type: type[Record], key: tuple[str, ...], run_bytes: int | None = None
    ) -> None:
        self.folder, self.record_type, self.key = folder, record_type, key
        self._run_bytes = RUN_BYTES if run_bytes is None else run_bytes
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
        return self._bytes >= self._run_bytes

    def write(self) -> None:
        """Write what is held as the next run."""
        self._held.sort(key=self._key_of)
        path = self.folder / f"run-{len(self.runs):06d}.parquet"
        with ordered_table(path, self.record_type, self.key, GROUP_BYTES) as table:
            for record in self._held:
                table.append(record)
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

    def _key_of(self, record: Record) -> tuple[str | int, ...]:
        return tuple(getattr(record, name) for name in self.key)


@dataclass(frozen=True, slots=True)
class Position:
    """The next row to read, the number of sorted runs before it, and the `rows` of each finished set."""

    rank: int = 0
    number: int = 0
    runs: int = 0
    rows: tuple[int, ...] = ()


class ImportWork:
    """Where the working files of an import lie. `run_bytes` is how much text a sorted run holds."""

    def __init__(self, folder: Path, run_bytes: int | None = None) -> None:
        self.read = SortedRuns(folder / "readings", Reading, ("statement_key", "task_id"), run_bytes)
        self.faulty = SortedRuns(folder / "faulty_rows", Quarantined, ("task_id",), run_bytes)
        self.pooled = SortedRuns(folder / "problems", PooledProblem, ("problem_id",), run_bytes)
        self.left_out = SortedRuns(folder / "left_out_rows", Quarantined, ("task_id",), run_bytes)
        self.stated = folder / "statements.parquet"
        self._position = folder / "reading-position.json"

    def go_on(self) -> Position:
        """Where a killed run stopped reading; what it left beyond that is thrown away."""
        at = Position()
        if self._position.exists():
            stored = json.loads(self._position.read_text(encoding="utf-8"))
            at = Position(**{**stored, "rows": tuple(stored["rows"])})
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
