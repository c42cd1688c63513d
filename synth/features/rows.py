"""Rows of files that come from elsewhere: JSON lines, a JSON array, or Parquet, one row in memory at a time where the
format allows it. A row that cannot be read is set aside with its place and its reason, never mended.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from synth.answers import AnswerError, read_json_strictly
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import open_text_bytes

_LFS_MARK = "version https://git-lfs"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was set aside: `place` counts lines of a JSON lines file, and rows of the others, from 1."""

    place: int
    reason: str


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    """Yield each row with its place. Raises `InputError` for a file that is missing or of another format."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected rows as .jsonl, .json (also .gz) or .parquet")
    if path.suffix == ".parquet":
        yield from _objects(_parquet_rows(path))
        return
    try:
        with open_text_bytes(path) as stream, TextIOWrapper(stream, encoding="utf-8") as file:
            start = file.read(4096)
            if start.startswith(_LFS_MARK):
                raise InputError(
                    f"{path} is a Git LFS pointer, not the rows themselves; fetch them with `git lfs pull`"
                )
            if start.lstrip().startswith("["):
                yield from _objects(enumerate(_array(path, start + file.read()), 1))
            else:
                yield from _lines(chain(StringIO(start + file.readline()), file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _lines(file: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    for place, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = read_json_strictly(line)
        except AnswerError as error:
            yield BadRow(place, str(error))
            continue
        yield from _objects(iter([(place, value)]))


def _objects(rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    for place, row in rows:
        if isinstance(row, dict):
            yield place, row
        else:
            yield BadRow(place, f"expected an object, found {json.dumps(row)[:40]}")


def _array(path: Path, text: str) -> list[Any]:
    try:
        value = read_json_strictly(text)
    except AnswerError as error:
        raise InputError(f"{path}: {error}") from error
    return list(value)


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            place = 0
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    place += 1
                    yield place, row
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from error
