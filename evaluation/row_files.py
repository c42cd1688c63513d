"""Rows of a JSONL or Parquet file, one in memory at a time, and one row again by its position.

A release of LiveCodeBench takes gigabytes, nearly all of it hidden tests, and a judge needs those of one problem at a
time: so a file is streamed once to learn where its rows lie, and a row is read again when its tests are wanted.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xcoder_train.core.errors import InputError
from xcoder_train.core.files import open_text_bytes

HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""How JSON writes half of a surrogate pair: two in the right order are a character, one alone is no text."""


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Where a row lies: `number` counts from 1; `position` is an offset in unpacked bytes (JSONL) or a row index."""

    path: Path
    number: int
    position: int

    def __str__(self) -> str:
        return f"{self.path}, row {self.number}"


def read_rows(path: Path, expected: str) -> Iterator[tuple[RowPlace, dict[str, Any]]]:
    """Every row in order; blank lines are skipped. `expected` says in messages what the file should be."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected {expected}")
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    with open_text_bytes(path) as lines:
        position = lines.tell()
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = RowPlace(path, number, position)
                yield place, _parse(line, place)
            position += len(line)


def read_row(place: RowPlace) -> dict[str, Any]:
    """The row at a place that `read_rows` gave."""
    if place.path.suffix == ".parquet":
        return _parquet_row(place)
    with open_text_bytes(place.path) as lines:
        lines.seek(place.position)
        return _parse(lines.readline(), place)


def _parse(line: bytes, place: RowPlace) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{place.path} is not UTF-8 text: {error}; expected JSONL or a .parquet file") from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise InputError(f"{place}, the line: not valid JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{place}, the line: expected a JSON dict, found {type(row).__name__}")
    for name, value in row.items() if HALF_OF_A_PAIR.search(line) else ():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{place}, field {name!r}: half of a surrogate pair is no text") from error
    return row


def _parquet_rows(path: Path) -> Iterator[tuple[RowPlace, dict[str, Any]]]:
    index = 0
    with _parquet_file(path) as table:
        for batch in table.iter_batches(batch_size=1):
            for row in batch.to_pylist():
                yield RowPlace(path, index + 1, index), row
                index += 1


def _parquet_row(place: RowPlace) -> dict[str, Any]:
    """Only the row group that holds the row is read, and of it no more than one row at a time is made an object."""
    first = 0
    with _parquet_file(place.path) as table:
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if place.position < first + rows:
                batches = table.iter_batches(batch_size=1, row_groups=[group])
                for index, batch in enumerate(batches, first):
                    if index == place.position:
                        [row] = batch.to_pylist()
                        return dict(row)
            first += rows
    raise InputError(f"{place} is no longer there: the file was changed while it was in use")


def _parquet_file(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from error
