"""A table that is written in the order of its key, in row groups of a bounded size, and appears whole or not at all."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from xcoder_train.core.files import atomic_path
from xcoder_train.core.records import arrow_schema, to_row

Record = TypeVar("Record")

ROWS_PER_GROUP = 8192
GROUP_BYTES = 4 << 20
"""Text of a row group. What a reader holds of a table is about one group of it, whatever the table's size."""


class OrderedTable(Generic[Record]):
    """Writes records that come in the order of `key`, no key twice.

    Use it as a context: the table takes its name when the block ends well, and nothing is left of it otherwise.
    """

    def __init__(
        self, path: Path, record_type: type[Record], key: tuple[str, ...], group_bytes: int = GROUP_BYTES
    ) -> None:
        self.path, self.record_type, self.key = path, record_type, key
        self._group_bytes = group_bytes
        self.rows = 0
        self._last: tuple[Any, ...] | None = None
        self._group: list[dict[str, Any]] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        import pyarrow.parquet

        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._schema = arrow_schema(self.record_type)
            self._writer = stack.enter_context(
                pyarrow.parquet.ParquetWriter(temporary, self._schema, compression="zstd")
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException as failed:
            self._stack.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

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
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._group:
            self._writer.write_table(pyarrow.Table.from_pylist(self._group, self._schema))
            self._group, self._bytes = [], 0


def size_of(value: Any) -> int:
    """About how many bytes a row's values take: characters of text, eight for a number."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return 8
