"""The record store survives kills and gives equal bytes for equal content."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
import pytest

from xcoder_core import records
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits, Problem, Solution
from xcoder_core.records import RecordStore, read_matching, read_records, read_unsealed, to_row, write_records

KEY = ("problem_id", "index")


def solution(number: int, index: int = 0) -> Solution:
    return Solution(
        f"p{number:05d}", index, f"print({number})", "```\n'\"\u2028é😀\n```", "m", passed=number % 7, score=None
    )


def test_the_table_depends_on_the_records_not_on_their_order(tmp_path: Path) -> None:
    records = [solution(number, index) for number in range(300) for index in range(3)]
    tables = []
    for order in (1, 2):
        random.Random(order).shuffle(records)
        store = RecordStore(tmp_path / f"{order}.parquet", Solution, KEY)
        store.extend(records)
        tables.append(store.seal().read_bytes())
    written = write_records(tmp_path / "3.parquet", Solution, records, KEY).read_bytes()
    assert tables[0] == tables[1] == written
    assert list(read_records(tmp_path / "1.parquet", Solution)) == sorted(
        records, key=lambda r: (r.problem_id, r.index)
    )


def test_nested_records_and_tuples_come_back_as_they_were(tmp_path: Path) -> None:
    problems = [
        Problem("a", "s", "codeforces", "stdin", features=("x/y", "z"), limits=Limits(0.5, 64)),
        Problem("b", "s", "leetcode", "function", "f", "class Solution:", difficulty="easy"),
    ]
    path = write_records(tmp_path / "problems.parquet", Problem, problems, ("problem_id",))
    assert list(read_records(path, Problem)) == problems


@dataclass(frozen=True)
class Part:
    weight: int


@dataclass(frozen=True)
class LaterPart:
    weight: int
    colour: str = "red"


@dataclass(frozen=True)
class Row:
    name: str
    part: Part


@dataclass(frozen=True)
class LaterRow:
    name: str
    part: LaterPart
    parts: tuple[LaterPart, ...] = ()
    note: str | None = None


def test_a_column_that_is_younger_than_the_table_is_at_its_default(tmp_path: Path) -> None:
    path = write_records(tmp_path / "t.parquet", Row, [Row("a", Part(1)), Row("b", Part(2))], ("name",))
    assert list(read_records(path, LaterRow)) == [LaterRow("a", LaterPart(1)), LaterRow("b", LaterPart(2))]
    assert list(read_matching(path, LaterRow, "name", "b")) == [LaterRow("b", LaterPart(2))]


def test_a_journal_that_an_earlier_version_began_is_sealed_with_every_column(tmp_path: Path) -> None:
    earlier = RecordStore(tmp_path / "t.parquet", Row, ("name",))
    earlier.append(Row("a", Part(1)))
    earlier.close()
    store = RecordStore(tmp_path / "t.parquet", LaterRow, ("name",))
    store.append(LaterRow("b", LaterPart(2, "blue"), note="n"))
    expected = [LaterRow("a", LaterPart(1)), LaterRow("b", LaterPart(2, "blue"), note="n")]
    assert list(read_records(store.seal(), LaterRow)) == expected
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet")["note"].to_pylist() == [None, "n"]


def test_a_store_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    store = RecordStore(path, Solution, KEY)
    store.extend([solution(1), solution(2)])
    store.close()
    again = RecordStore(path, Solution, KEY)
    assert len(again.keys) == 2 and ("p00001", 0) in again.keys and ("p00002", 0) in again.keys
    assert list(again.pending()) == [solution(1), solution(2)]
    again.append(solution(3))
    assert len(list(read_records(again.seal(), Solution))) == 3


def test_a_killed_process_loses_nothing_that_it_had_appended(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from xcoder_core.problem import Solution; from xcoder_core.records import RecordStore\n"
        "store = RecordStore(Path(sys.argv[1]), Solution, ('problem_id', 'index'))\n"
        "for n in range(100): store.append(Solution('p', n, 'c', 'r', 'm'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(RecordStore(path, Solution, KEY).keys) == 100


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_torn_last_line_is_cut_off_and_its_record_can_be_made_again(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "t.parquet"
    store = RecordStore(path, Solution, KEY)
    store.extend([solution(1), solution(2)])
    store.close()
    journal = path.with_suffix(".journal")
    os.truncate(journal, journal.stat().st_size - lost)
    again = RecordStore(path, Solution, KEY)
    assert len(again.keys) == 1 and ("p00001", 0) in again.keys
    again.append(solution(2))
    assert list(read_records(again.seal(), Solution)) == [solution(1), solution(2)]


def test_a_journal_can_be_read_while_its_writer_is_in_the_middle_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer goes on just when the reader has met the torn end."""
    path = tmp_path / "t.parquet"
    store = RecordStore(path, Solution, KEY)
    store.extend([solution(1), solution(2)])
    store.close()
    journal = path.with_suffix(".journal")
    whole = journal.read_bytes()
    os.truncate(journal, len(whole) - 30)

    class Met(io.BufferedReader):
        def __next__(self) -> bytes:
            line = super().__next__()
            if not line.endswith(b"\n"):
                with journal.open("ab") as writer:
                    writer.write(whole[-30:])
            return line

    monkeypatch.setattr(records, "open", lambda name, mode: Met(io.FileIO(name)), raising=False)
    assert list(read_unsealed(path, Solution)) == [solution(1)]
    assert list(read_unsealed(path, Solution)) == [solution(1), solution(2)]


def test_damage_before_the_last_line_is_an_error_not_a_shorter_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    store = RecordStore(path, Solution, KEY)
    store.extend([solution(number) for number in range(5)])
    store.close()
    journal = path.with_suffix(".journal")
    damaged = bytearray(journal.read_bytes())
    damaged[40] ^= 1
    journal.write_bytes(damaged)
    with pytest.raises(InputError, match="is damaged at byte 0"):
        RecordStore(path, Solution, KEY)


def test_a_record_cannot_be_appended_twice_nor_to_a_sealed_table(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "t.parquet", Solution, KEY)
    store.append(solution(1))
    with pytest.raises(RuntimeError, match="already holds"):
        store.append(solution(1))
    store.seal()
    with pytest.raises(RuntimeError, match="is sealed"):
        store.append(solution(2))


def test_half_a_character_never_keeps_a_table_from_being_sealed(tmp_path: Path) -> None:
    halves = [Solution("p", index, text, "e", "m", 0, None) for index, text in enumerate(("\ud83d", "\ud83d\ude00"))]
    store = RecordStore(tmp_path / "appended.parquet", Solution, KEY)
    store.extend(halves)
    for table in (store.seal(), write_records(tmp_path / "written.parquet", Solution, halves, KEY)):
        assert [one.code for one in read_records(table, Solution)] == ["\ufffd", "\U0001f600"]


def test_a_journal_that_holds_half_a_character_can_still_be_sealed(tmp_path: Path) -> None:
    row = {**to_row(solution(1)), "code": "half \ud83d"}
    body = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
    (tmp_path / "table.journal").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    (read,) = read_records(RecordStore(tmp_path / "table.parquet", Solution, KEY).seal(), Solution)
    assert read.code == "half \ufffd"


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "t.parquet", Solution, [solution(1)], KEY)
    with pytest.raises(InputError, match="lacks the columns"):
        list(read_records(path, Problem))
    with pytest.raises(InputError, match="does not exist"):
        list(read_records(tmp_path / "missing.parquet", Problem))
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(read_records(tmp_path / "text.parquet", Problem))


def test_a_table_that_is_sorted_in_many_small_runs_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = [solution(number) for number in range(600)]
    random.Random(3).shuffle(shuffled)
    whole = write_records(tmp_path / "whole.parquet", Solution, shuffled, KEY).read_bytes()
    monkeypatch.setattr(records, "BYTES_IN_MEMORY", 8_000)  # some 60 runs
    monkeypatch.setattr(records, "BYTES_PER_RUN_GROUP", 2_000)
    monkeypatch.setattr(records, "MERGED_AT_ONCE", 3)
    assert write_records(tmp_path / "runs.parquet", Solution, shuffled, KEY).read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.parquet", "whole.parquet"]


def test_a_table_of_large_rows_has_small_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BYTES_PER_GROUP", 100_000)
    rows = [Solution("p", number, "c", "r" * 30_000, "m") for number in range(20)]
    path = write_records(tmp_path / "t.parquet", Solution, rows, KEY)
    assert pyarrow.parquet.read_metadata(path).num_row_groups == 5
    assert list(read_records(path, Solution)) == rows
