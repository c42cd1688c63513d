"""A table that is written in the order of its key, in row groups of a bounded size, and appears whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from xcoder_core.files import atomic_path
from xcoder_core.records import Key, Record, Row, arrow_schema, to_row

if TYPE_CHECKING:
    import pyarrow.parquet

ROWS_PER_GROUP = 8192
GROUP_BYTES = 4 << 20
"""Text of a row group. What a reader holds of a table is about one group of it, whatever the table's size."""


@contextmanager
def ordered_table(
    path: Path, record_type: type[Record], key: tuple[str, ...], group_bytes: int = GROUP_BYTES
) -> Iterator["OrderedTable[Record]"]:
    """A table that takes its name when the block ends well, and of which nothing is left otherwise."""
    import pyarrow.parquet

    schema = arrow_schema(record_type)
    with atomic_path(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        table: OrderedTable[Record] = OrderedTable(path, key, group_bytes, writer)
        yield table
        table.flush()


class OrderedTable(Generic[Record]):
    """Takes records that come in the order of `key`, no key twice."""

    def __init__(
        self, path: Path, key: tuple[str, ...], group_bytes: int, writer: "pyarrow.parquet.ParquetWriter"
    ) -> None:
        self.path, self.key = path, key
        self._group_bytes, self._writer = group_bytes, writer
        self.rows = 0
        self._last: Key | None = None
        self._group: list[Row] = []
        self._bytes = 0

    def append(self, record: Record) -> None:
        """Add the next record."""
        row = to_row(record)
        key = tuple(row[column] for column in self.key)
        if self._last is not None and key <= self._last:
            raise RuntimeError(f"{self.path} is written in the order of {self.key}, and {key} came after {self._last}")
        self._last = key
        self._group.append(row)
        self._bytes += size_of(row)
        self.rows += 1
        if self._bytes >= self._group_bytes or len(self._group) == ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is held as a row group."""
        import pyarrow

        if self._group:
            self._writer.write_table(pyarrow.Table.from_pylist(self._group, self._writer.schema))
            self._group, self._bytes = [], 0


def size_of(value: object) -> int:
    """About how many bytes a row's values take: characters of text, eight for a number."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return 8
