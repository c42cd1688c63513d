"""A table in the order of its key: whole or not there, in groups of a bounded size."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
import pytest

from synth.published.pooling import ordered_table
from xcoder_core.records import read_records


@dataclass(frozen=True, slots=True)
class Word:
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    place: int
    words: tuple[Word, ...]


ROWS = [Row(place, (Word("a" * 100), Word("b" * place))) for place in range(50)]


def test_rows_come_back_as_they_were_in_small_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with ordered_table(path, Row, ("place",), group_bytes=1000) as append:
        for row in ROWS:
            append(row)
    assert pyarrow.parquet.read_metadata(path).num_row_groups > 4
    assert list(read_records(path, Row)) == ROWS


@pytest.mark.parametrize("places", [(1, 0), (1, 1)])
def test_rows_out_of_order_leave_no_table(tmp_path: Path, places: tuple[int, int]) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(RuntimeError, match="in the order of"), ordered_table(path, Row, ("place",)) as append:
        for place in places:
            append(ROWS[place])
    assert list(tmp_path.iterdir()) == []
