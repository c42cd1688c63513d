"""Places that cannot be written are named before any work, with the exit code of a wrong input."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xcoder_train.runs.failures import failure_of


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot be written."""
    place = tmp_path / "read_only"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a read-only file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def refused(done: "subprocess.CompletedProcess[str]", place: object) -> bool:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1 and "Traceback" not in done.stderr and "disk full" not in done.stderr
    return str(place) in done.stderr and done.stdout == ""


def write_program(terminal: Any) -> None:
    program = '{"id": "a", "code": "print(1)", "tests": [{"input": "", "expected": "1"}]}\n'
    (terminal.folder / "programs.jsonl").write_text(program)


def test_a_runs_dir_that_is_no_folder_is_named(terminal: Any) -> None:
    (terminal.folder / "notes").write_text("mine")
    for place in ("notes", "notes/below", "/proc/nowhere"):
        done = terminal.xcoder("run", "recipe.yaml", f"runs_dir={place}")
        assert refused(done, f"the run's folder {place}/tiny") and "runs_dir=" in done.stderr
    assert (terminal.folder / "notes").read_text() == "mine"


def test_a_runs_dir_on_a_read_only_disk_is_named(terminal: Any, read_only: Path) -> None:
    done = terminal.xcoder("run", "recipe.yaml", f"runs_dir={read_only}")
    assert refused(done, f"the run's folder {read_only}/tiny: Read-only file system")


def test_an_output_that_cannot_be_written_costs_no_judging(terminal: Any) -> None:
    write_program(terminal)
    (terminal.folder / "results").mkdir()
    for place in ("results", "/dev/null", "programs.jsonl/out", "/proc/nowhere/out"):
        assert refused(
            terminal.xcoder("judge", "programs.jsonl", "--output", place), f"cannot write verdicts to {place}"
        )
    assert list((terminal.folder / "results").iterdir()) == [] and Path("/dev/null").is_char_device()


def test_an_output_on_a_read_only_disk_costs_no_judging(terminal: Any, read_only: Path) -> None:
    write_program(terminal)
    done = terminal.xcoder("judge", "programs.jsonl", "--output", f"{read_only}/out.jsonl")
    assert refused(done, f"cannot write verdicts to {read_only}/out.jsonl: Read-only file system")


def test_a_place_that_turns_read_only_later_is_no_fault_of_ours(read_only: Path) -> None:
    with pytest.raises(OSError) as raised:
        (read_only / "stage.json").write_text("{}")
    failure = failure_of(raised.value, read_only)
    assert failure.exit_code == 3 and f"{read_only}/stage.json: Read-only file system" in failure.message
