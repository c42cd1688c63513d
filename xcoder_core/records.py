"""The append-only record store: Parquet tables that survive `kill -9` and come out byte-identical.

While a stage runs, each record is one line of a journal (`<table>.journal`): a CRC-32 and the record as JSON.
A line reaches the kernel before `append` returns, so a killed process loses nothing that it had appended, and a
torn last line is recognised and cut off. `seal` sorts the records by key and writes the Parquet table in one
rename: the bytes depend on the records alone, never on the order in which they were completed.
"""

import dataclasses
import heapq
import itertools
import json
import os
import types
import typing
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from xcoder_core.errors import InputError
from xcoder_core.files import atomic_path, whole_characters
from xcoder_core.keys import Keys

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

Record = TypeVar("Record")
Row = dict[str, Any]
"""A record as the plain values that Arrow and JSON take, by column."""
Key = tuple[str | int, ...]

ROWS_AT_ONCE = 1024
BYTES_PER_GROUP = 8 << 20
"""Memory that the rows of one row group take as Python values; a reader holds one group."""
BYTES_IN_MEMORY = 32 << 20
"""Memory that the rows take that are sorted at once."""
BYTES_PER_RUN_GROUP = 256 << 10
"""As `BYTES_PER_GROUP`, for sorted runs: one group of each is in memory while they are merged."""
MERGED_AT_ONCE = 64
"""Runs that are open at once; processes may open some thousand files at most."""

_MEND_A_TABLE = "Restore the file, or synthesise again under another name (name=…)."


class RecordStore(Generic[Record]):
    """One table of one record type, keyed by `key` (the columns that identify and order its rows).

    Open it, skip what `keys` already holds, `append` the rest, then `seal`. A sealed store refuses appends.
    """

    def __init__(self, path: Path, record_type: type[Record], key: tuple[str, ...]) -> None:
        self.path = path
        self.record_type = record_type
        self.key = key
        self.keys = Keys()
        self._key_of = _key_function(key)
        self._journal_path = path.with_suffix(".journal")
        self._journal: typing.BinaryIO | None = None
        if self.is_sealed:
            self._journal_path.unlink(missing_ok=True)
        elif self._journal_path.exists():
            self._recover()

    @property
    def is_sealed(self) -> bool:
        """True once the whole table stands under its final name."""
        return self.path.exists()

    def append(self, record: Record) -> None:
        """Add one record; it survives the death of this process from here on."""
        self.extend([record])

    def extend(self, records: Iterable[Record]) -> None:
        """Add several records with one write."""
        if self.is_sealed:
            raise RuntimeError(f"{self.path} is sealed; records can no longer be appended")
        lines = []
        for record in records:
            row = to_row(record)
            key = self._key_of(row)
            if key in self.keys:
                raise RuntimeError(f"{self.path} already holds a record with {self.key} = {key}")
            self.keys.add(key)
            lines.append(_journal_line(row))
        if not lines:
            return
        if self._journal is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = open(self._journal_path, "ab")  # noqa: SIM115  # closed by `close` and `seal`
        self._journal.write(b"".join(lines))
        self._journal.flush()

    def pending(self) -> Iterator[Record]:
        """The records of an unsealed store, in the order in which they were appended."""
        return read_unsealed(self.path, self.record_type)

    def seal(self) -> Path:
        """Write the sorted Parquet table, drop the journal, and return the table's path."""
        if not self.is_sealed:
            self.close()
            # By way of records, as a journal that an earlier version began may lack a column.
            _write_sorted(self.path, self.record_type, map(to_row, self.pending()), self._key_of)
            self._journal_path.unlink(missing_ok=True)
        return self.path

    def close(self) -> None:
        """Let go of the journal; the store can be opened again and goes on where it was."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _recover(self) -> None:
        """Read the keys that are there and cut off a line that a kill left half-written."""
        whole = 0
        for row, end in _read_journal(self._journal_path):
            self.keys.add(self._key_of(row))
            whole = end
        if whole < self._journal_path.stat().st_size:
            os.truncate(self._journal_path, whole)


def read_unsealed(path: Path, record_type: type[Record]) -> Iterator[Record]:
    """The records of an unsealed table in the order in which they were appended; its writer may still be at work."""
    journal = path.with_suffix(".journal")
    if journal.exists():
        for row, _ in _read_journal(journal):
            yield from_row(record_type, row)


def read_records(path: Path, record_type: type[Record]) -> Iterator[Record]:
    """Stream a sealed table in key order, one row group in memory at a time."""
    import pyarrow.parquet

    if not path.exists():
        raise InputError(f"{path} does not exist; expected a table of {record_type.__name__} records")
    with readable(path, _MEND_A_TABLE), pyarrow.parquet.ParquetFile(path) as table:
        wanted = _columns(path, table.schema_arrow, record_type)
        for number in range(table.num_row_groups):
            for batch in table.read_row_group(number, columns=wanted).to_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield from_row(record_type, row)


def read_matching(
    path: Path, record_type: type[Record], column: str, lowest: str, highest: str | None = None
) -> Iterator[Record]:
    """The records of a sealed table whose text `column` is `lowest`, or lies from it up to `highest`, both included.

    Row groups that hold none of them are not read, so a few rows of a table sorted by that column cost little.
    """
    import pyarrow.parquet

    highest = lowest if highest is None else highest
    with readable(path, _MEND_A_TABLE), pyarrow.parquet.ParquetFile(path) as table:
        names = _columns(path, table.schema_arrow, record_type)
        for number in range(table.num_row_groups):
            chunks = map(table.metadata.row_group(number).column, range(table.metadata.num_columns))
            known = next(chunk for chunk in chunks if chunk.path_in_schema == column).statistics
            if known is not None and known.has_min_max and (known.max < lowest or known.min > highest):
                continue
            group = table.read_row_group(number, columns=names)
            for place, value in enumerate(group[column].to_pylist()):  # pyarrow.compute would import pandas
                if lowest <= value <= highest:
                    yield from_row(record_type, group.slice(place, 1).to_pylist()[0])


def _columns(path: Path, schema: "pyarrow.Schema", record_type: type) -> list[str]:
    """The record's columns that a table has. One that is younger than the table may be missing if it has a default."""
    present = set(schema.names)
    fields = dataclasses.fields(record_type)
    missing = [f.name for f in fields if f.name not in present and f.default is dataclasses.MISSING]
    if missing:
        raise InputError(f"{path} lacks the columns {missing} of a {record_type.__name__} table")
    return [field.name for field in fields if field.name in present]


def read_table(path: Path, columns: Sequence[str] | None = None) -> "pyarrow.Table":
    """The whole of a Parquet file as an Arrow table; a damaged one is an InputError."""
    import pyarrow.parquet

    with readable(path, _MEND_A_TABLE):
        return pyarrow.parquet.read_table(path, columns=columns)


def check_tables(folder: Path) -> None:
    """Raise InputError for the first Parquet file below a folder that was cut short. Only its end is read."""
    import pyarrow.parquet

    for path in sorted(folder.rglob("*.parquet")):
        with readable(path, _MEND_A_TABLE):
            pyarrow.parquet.read_metadata(path)


def write_records(path: Path, record_type: type[Record], records: Iterable[Record], key: tuple[str, ...]) -> Path:
    """Write a whole table at once, sorted by `key`; for what is derived in one pass and cheap to derive again."""
    _write_sorted(path, record_type, (to_row(record) for record in records), _key_function(key))
    return path


def arrow_schema(record_type: type) -> "pyarrow.Schema":
    """The Arrow schema of a record type, from its annotations (`X | None` is nullable, a nested dataclass a struct)."""
    import pyarrow

    hints = typing.get_type_hints(record_type)
    fields = []
    for field in dataclasses.fields(record_type):
        inner, nullable = _without_none(hints[field.name])
        fields.append(pyarrow.field(field.name, _arrow_type(inner), nullable=nullable))
    return pyarrow.schema(fields)


def to_row(record: object) -> Row:
    """A record as the plain values that Arrow and JSON take."""
    return {name: _plain(getattr(record, name)) for name in _field_names(type(record))}  # type: ignore[arg-type]  # classes are hashable


def from_row(record_type: type[Record], row: Row) -> Record:
    """The record of a row; lists become tuples, structs their dataclasses. What the row lacks is at its default."""
    return _adapter(record_type).validate_python(row)  # type: ignore[arg-type]  # as above


@contextmanager
def readable(path: Path, mend: str = "") -> Iterator[None]:
    """Within, what pyarrow cannot read of a Parquet file is an `InputError`; `mend` says what to do then."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error} {mend}".rstrip()) from error


@cache
def _field_names(record_type: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record_type))


@cache
def _adapter(record_type: type) -> TypeAdapter[Any]:
    return TypeAdapter(record_type)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return whole_characters(value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_row(value)


def _without_none(hint: object) -> tuple[object, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [argument for argument in typing.get_args(hint) if argument is not type(None)]
        return inner[0], True
    return hint, False


def _arrow_type(hint: object) -> "pyarrow.DataType":
    import pyarrow

    scalars = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    if hint in scalars:
        return scalars[hint]
    if typing.get_origin(hint) is typing.Literal:
        return pyarrow.string()
    if typing.get_origin(hint) is tuple:
        return pyarrow.list_(_arrow_type(typing.get_args(hint)[0]))
    if dataclasses.is_dataclass(hint):
        return pyarrow.struct(list(arrow_schema(typing.cast(type, hint))))
    raise TypeError(f"no Arrow type stands for {hint}")


def _key_function(key: tuple[str, ...]) -> Callable[[Row], Key]:
    return lambda row: tuple(row[column] for column in key)


def _journal_line(row: Row) -> bytes:
    body = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read_journal(path: Path) -> Iterator[tuple[Row, int]]:
    """Each whole row with the offset at which it ends. Only the last line may be torn."""
    end = 0
    with open(path, "rb") as journal:
        for line in journal:
            body = line[9:-1]
            if not line.endswith(b"\n"):  # the end of the file by now, and its writer may be at work
                return
            if line[:8] != b"%08x" % zlib.crc32(body):
                if journal.read(1):
                    raise InputError(
                        f"{path} is damaged at byte {end}: a record before the last does not match its checksum. "
                        "Restore the file, or delete it to make its records again."
                    )
                return
            end += len(line)
            # Journals of earlier versions may hold half characters.
            yield json.loads(whole_characters(body.decode("utf-8", "surrogatepass"))), end


def _write_sorted(path: Path, record_type: type, rows: Iterator[Row], key_of: Callable[[Row], Key]) -> None:
    """External merge sort: memory is bounded by `BYTES_IN_MEMORY`, however long the rows and the table."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = arrow_schema(record_type)
    levels: list[list[Path]] = [[]]
    written = itertools.count()

    def write(target: Path, ordered: Iterable[Row], group_bytes: int) -> None:
        with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in _chunks(ordered, group_bytes):
                writer.write_table(pyarrow.Table.from_pylist(group, schema))

    def rows_of(run: Path) -> Iterator[Row]:
        with pyarrow.parquet.ParquetFile(run) as table:
            for number in range(table.num_row_groups):
                yield from table.read_row_group(number).to_pylist()

    def spill(ordered: Iterable[Row], level: int) -> None:
        """Write a run; as soon as there are many of a level, they become one of the next."""
        if level == len(levels):
            levels.append([])
        run = path.with_name(f".{path.name}.run{next(written)}")
        levels[level].append(run)
        write(run, ordered, BYTES_PER_RUN_GROUP)
        if len(levels[level]) == MERGED_AT_ONCE:
            full, levels[level] = levels[level], []
            try:
                spill(heapq.merge(*map(rows_of, full), key=key_of), level + 1)
            finally:
                for run in full:
                    run.unlink(missing_ok=True)

    try:
        last: list[Row] = []
        for chunk in _chunks(rows, BYTES_IN_MEMORY):
            chunk.sort(key=key_of)
            if last:
                spill(last, 0)
            last = chunk
        runs = [run for level in levels for run in level]
        with atomic_path(path) as temporary:
            ordered = heapq.merge(last, *map(rows_of, runs), key=key_of) if runs else last
            write(temporary, ordered, BYTES_PER_GROUP)
    finally:
        for run in (run for level in levels for run in level):
            run.unlink(missing_ok=True)


def _chunks(rows: Iterable[Row], most_bytes: int) -> Iterator[list[Row]]:
    """Lists of neighbouring rows, each ended by the row that fills it."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += _size(row)
        if size >= most_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(value: object) -> int:
    """About how many bytes a value of a row takes in memory; the same for equal values, as group limits must be."""
    if isinstance(value, str):
        return 56 + len(value)
    if isinstance(value, dict):
        return 64 + 16 * len(value) + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 56 + 8 * len(value) + sum(map(_size, value))
    return 24
