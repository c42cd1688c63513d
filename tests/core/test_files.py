"""Files appear whole or not at all; fingerprints are of content."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xcoder_train.core.files import atomic_path, fingerprint, write_json, write_text


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
        "import os, signal, sys; from pathlib import Path; from xcoder_train.core.files import atomic_path\n"
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
