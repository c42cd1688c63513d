"""Sorting more records than memory holds: sorted runs on disk, which are then merged.

A run is whole or not there, so what makes them can go on after the last one.
"""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from xcoder_train.core.ordered_table import OrderedTable, size_of
from xcoder_train.core.records import read_records, to_row

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
        """The runs that are whole, in the order in which they were written."""
        return sorted(self.folder.glob("run-*.parquet"))

    def append(self, record: Record) -> bool:
        """Hold a record. True when as much is held as a run takes, so that `write` should follow."""
        self._held.append(record)
        self._bytes += size_of(to_row(record))
        return self._bytes >= self._run_bytes

    def write(self) -> None:
        """Write what is held as the next run."""
        self._held.sort(key=self._key_of)
        with OrderedTable(
            self.folder / f"run-{len(self.runs):06d}.parquet", self.record_type, self.key, GROUP_BYTES
        ) as table:
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

    def _key_of(self, record: Record) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in self.key)
