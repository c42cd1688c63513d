"""Files appear whole or not at all; fingerprints are of content."""

import codecs
import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_core.files import atomic_path, fingerprint, open_text_bytes, unpacked_stem, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": True})
    code = (
        "import os, signal, sys; from pathlib import Path; from xcoder_core.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('{'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == '{\n  "old": true\n}\n'
    assert len(os.listdir(tmp_path)) == 2
    living = tmp_path / f".a.json.{os.getppid()}.tmp"
    living.write_text("{")
    write_json(path, {"old": False})
    assert sorted(os.listdir(tmp_path)) == [living.name, "a.json"]  # what the killed process left is swept


def test_a_fingerprint_is_of_names_and_bytes_whatever_the_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("a", "b")), (second, ("b", "a"))):
        for name in names:
            write_text(folder / "sub" / name, name * 3)
    assert fingerprint(first / "sub") == fingerprint(second / "sub")
    before = fingerprint(first)
    write_text(first / "sub" / "a", "aab")
    assert fingerprint(first) != before
    (second / "sub" / "a").rename(second / "sub" / "c")
    assert fingerprint(second / "sub") != fingerprint(first / "sub")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("text", [b"", b"{}", "{\u00e9}\r\nsecond\n".encode()])
def test_a_text_reads_the_same_packed_or_not_and_with_or_without_a_byte_order_mark(
    tmp_path: Path, packed: bool, mark: bytes, text: bytes
) -> None:
    path = tmp_path / "rows.jsonl"  # a name does not say what a file is
    path.write_bytes(gzip.compress(mark + text) if packed else mark + text)
    with open_text_bytes(path) as stream:
        assert stream.read() == text


@pytest.mark.parametrize("kept", [2, 12, 40, -4])
def test_gzip_that_was_cut_or_damaged_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(os.urandom(200))[:kept] + b"\xff" * (kept == 40))
    with (
        pytest.raises(InputError, match=r"rows\.jsonl\.gz is gzip, and cannot be unpacked"),
        open_text_bytes(path) as stream,
    ):
        stream.read()


def test_a_packed_file_is_called_as_it_is_unpacked() -> None:
    names = "HumanEval.jsonl.gz", "HumanEval.jsonl", "v1.2.parquet", "rows.gz"
    assert [unpacked_stem(Path("a") / name) for name in names] == ["HumanEval", "HumanEval", "v1.2", "rows"]
