"""Rows of files that come from elsewhere: JSON lines, a JSON array, or Parquet; one again by its place.

One row is in memory at a time where the format allows it: a release of LiveCodeBench takes gigabytes, nearly all of it
hidden tests, and its rows are read again when their tests are wanted.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xcoder_core.errors import InputError
from xcoder_core.files import open_text_bytes, whole_characters
from xcoder_core.records import Row, readable

_ANY_FORM = "rows as .jsonl, .json (also .gz) or .parquet"
_LFS_MARK = b"version https://git-lfs"
_BYTES_AT_ONCE, _ROWS_AT_ONCE = 8 << 20, 1024
_SHOWN_CHARACTERS = 60
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON writes half of a surrogate pair: two in the right order are a character, one alone is no text."""


class JsonError(ValueError):
    """Text that is not the JSON that was expected; the message says where."""


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Where a row lies. `number` counts lines of JSON lines, and rows of other files, from 1.

    `position` is an offset in the unpacked bytes of JSON lines, and otherwise the row's index.
    """

    path: Path
    number: int
    position: int
    is_in_array: bool = False

    def __str__(self) -> str:
        return f"{self.path}, row {self.number}"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: its number, and why. It is set aside, never mended."""

    place: int
    reason: str


def read_rows(path: Path, expected: str = _ANY_FORM, *, strict: bool = True) -> Iterator[tuple[RowPlace, Row] | BadRow]:
    """Each row with its place; blank lines are none. `strict` as in `read_json`.

    Raises `InputError` for a file that is missing or of another format than `expected`.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected {expected}")
    if path.suffix == ".parquet":
        yield from ((RowPlace(path, index + 1, index), row) for index, row in parquet_rows(path))
        return
    try:
        with open_text_bytes(path) as stream:
            position = stream.tell()
            start = stream.read(len(_LFS_MARK) + 4096)
            if start.startswith(_LFS_MARK):
                raise InputError(f"{path} is a Git LFS pointer, not the rows: fetch them with `git lfs pull`")
            if start.lstrip().startswith(b"["):
                for index, row in enumerate(_array(path, start + stream.read(), strict)):
                    yield _checked(RowPlace(path, index + 1, index, is_in_array=True), row)
                return
            stream.seek(position)
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _parsed(RowPlace(path, number, position), line, strict)
                position += len(line)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}; expected {expected}") from error


def sound_rows(path: Path, expected: str = _ANY_FORM, *, strict: bool = True) -> Iterator[tuple[RowPlace, Row]]:
    """As `read_rows`, of a file every row of which must be one: another is an `InputError`."""
    for row in read_rows(path, expected, strict=strict):
        if isinstance(row, BadRow):
            raise InputError(f"{path}, row {row.place}: {row.reason}")
        yield row


def read_row(place: RowPlace) -> Row:
    """The row at a place that `sound_rows` gave. Raises `InputError` where the file was changed since."""
    if place.path.suffix == ".parquet":
        found: Row | None = next((row for _, row in parquet_rows(place.path, skipped=place.position)), None)
    elif place.is_in_array:
        found = next((row for at, row in sound_rows(place.path, strict=False) if at == place), None)
    else:
        with open_text_bytes(place.path) as stream:
            stream.seek(place.position)
            parsed = _parsed(place, stream.readline(), strict=False)
        found = None if isinstance(parsed, BadRow) else parsed[1]
    if found is None:
        raise InputError(f"{place} is no longer there: the file was changed while it was in use")
    return found


def parquet_rows(path: Path, columns: list[str] | None = None, skipped: int = 0) -> Iterator[tuple[int, Row]]:
    """Each row with its index, from the index `skipped` on; row groups that are skipped as a whole are not read."""
    import pyarrow.parquet

    with readable(path), pyarrow.parquet.ParquetFile(path) as table:
        index = 0
        for number in range(table.num_row_groups):
            group = table.metadata.row_group(number)
            if index + group.num_rows <= skipped:
                index += group.num_rows
                continue
            at_once = _BYTES_AT_ONCE * group.num_rows // max(group.total_byte_size, 1)
            batches = table.iter_batches(max(1, min(at_once, _ROWS_AT_ONCE)), row_groups=[number], columns=columns)
            for batch in batches:
                start = max(0, skipped - index)
                yield from enumerate(batch.slice(start).to_pylist(), index + start)
                index += len(batch)


def read_json(text: str, *, strict: bool = True) -> Any:
    """The value of a JSON text without half surrogate pairs, and where it is `strict`, without repeated keys and NaN.

    Raises `JsonError` with line and column.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant) if strict else json.loads(text)
    except json.JSONDecodeError as error:
        near = text[error.pos : error.pos + _SHOWN_CHARACTERS].split("\n")[0]
        where = f"line {error.lineno}, column {error.colno}" + (f", at `{near}`" if near.strip() else "")
        raise JsonError(f"not valid JSON: {error.msg} ({where})") from error
    except RecursionError as error:
        raise JsonError("the JSON is nested too deeply") from error
    except JsonError:
        raise
    except ValueError as error:  # Python reads no numbers of thousands of digits
        raise JsonError(f"the JSON cannot be read: {error}") from error
    if (_HALF_OF_A_PAIR.search(text) or whole_characters(text) != text) and not _is_text(value):
        fields = value.items() if isinstance(value, dict) else ()
        field = next((f"field {name!r}: " for name, below in fields if not _is_text([name, below])), "")
        raise JsonError(f"{field}half of a surrogate pair is no text")
    return value


def _parsed(place: RowPlace, line: bytes, strict: bool) -> tuple[RowPlace, Row] | BadRow:
    try:
        return _checked(place, read_json(line.decode(), strict=strict))
    except JsonError as error:
        return BadRow(place.number, str(error))


def _checked(place: RowPlace, row: object) -> tuple[RowPlace, Row] | BadRow:
    if isinstance(row, dict):
        return place, row
    return BadRow(place.number, f"expected an object, found {json.dumps(row)[:40]}")


def _array(path: Path, text: bytes, strict: bool) -> list[object]:
    try:
        return list(read_json(text.decode(), strict=strict))
    except JsonError as error:
        raise InputError(f"{path}: {error}") from error


def _is_text(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise JsonError(f"not valid JSON: the key `{repeated}` stands twice in one object")
    return value


def _constant(name: str) -> None:
    raise JsonError(f"not valid JSON: {name} is not a number")
