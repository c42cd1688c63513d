"""Rows of files that others wrote, in every format that they come in."""

import codecs
import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from xcoder_core.errors import InputError
from xcoder_core.rows import BadRow, parquet_rows, read_row, read_rows, sound_rows

ROWS = [{"name": f"é{number}", "text": "x" * number} for number in range(11)]
LINES = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


@pytest.fixture(params=["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / request.param
    if file.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file, row_group_size=3)
    elif file.suffix == ".json":
        file.write_text(json.dumps(ROWS, indent=1), encoding="utf-8-sig")
    else:
        marked = codecs.BOM_UTF8 + LINES
        file.write_bytes(gzip.compress(marked) if file.suffix == ".gz" else marked)
    return file


def test_a_row_is_read_again_by_its_place(path: Path) -> None:
    found = list(sound_rows(path))
    assert [row for _, row in found] == ROWS
    assert [read_row(place) for place, _ in reversed(found)] == ROWS[::-1]
    numbers = [place.number for place, _ in found]
    assert numbers == [2 * n + 1 if ".jsonl" in path.name else n + 1 for n in range(11)]


def test_a_row_that_is_gone_is_told_as_a_changed_file(path: Path) -> None:
    place, _ = list(sound_rows(path))[-1]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS[:4]), path)
    else:
        path.write_bytes(b"[]" if path.suffix == ".json" else b"")
    with pytest.raises(InputError, match=r"row \d+ is no longer there: the file was changed"):
        read_row(place)


@pytest.mark.parametrize("skipped", [0, 1, 3, 4, 8, 9, 10, 11, 20])
def test_parquet_rows_begin_at_any_row_with_their_own_index(tmp_path: Path, skipped: int) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=4)
    found = list(parquet_rows(tmp_path / "a.parquet", ["name"], skipped))
    assert found == [(n, {"name": ROWS[n]["name"]}) for n in range(skipped, 11)]


def test_only_strict_reading_refuses_what_json_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": NaN}\n{"a": 1, "a": 2}\n{"a": "\\ud800"}\n[1]\n')
    strict = [row.reason for row in read_rows(file) if isinstance(row, BadRow)]
    assert [reason.split(":")[0] for reason in strict] == [
        "not valid JSON",
        "not valid JSON",
        "field 'a'",
        "expected an object, found [1]",
    ]
    lenient = list(read_rows(file, strict=False))
    assert [isinstance(row, BadRow) for row in lenient] == [False, False, True, True]
    with pytest.raises(InputError, match=r"rows\.jsonl, row 3: field 'a': half of a surrogate pair is no text"):
        list(sound_rows(file, strict=False))
