"""What a failure is told as: a full disk is a full disk, however a library words it."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_text
from xcoder_train.failures import failure_of


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def weights_that_do_not_fit(disk: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1_000_000)}, disk / "model.safetensors")


def copy_that_does_not_fit(disk: Path) -> None:
    write_text(disk.parent / "from" / "weights", "x" * 1_000_000)
    shutil.copytree(disk.parent / "from", disk / "to")


def checkpoint_that_does_not_fit(disk: Path) -> None:
    import torch

    torch.save(torch.zeros(1_000_000), disk / "optimizer.pt")


def text_that_does_not_fit(disk: Path) -> None:
    with open(disk / "a", "w") as file:
        file.write("x" * 1_000_000)


@pytest.mark.parametrize(
    "write",
    [weights_that_do_not_fit, copy_that_does_not_fit, checkpoint_that_does_not_fit, text_that_does_not_fit],
)
def test_a_full_disk_is_recognised_in_every_librarys_words(small_disk: Path, write: Any) -> None:
    with pytest.raises(Exception) as raised:  # each library has its own
        write(small_disk)
    failure = failure_of(raised.value, small_disk)
    assert failure.exit_code == 3 and not failure.is_ours
    assert f"MiB free at {small_disk}; free space and run the same command: it continues" in failure.message


def test_a_full_disk_without_a_name_gets_no_invented_place() -> None:
    failure = failure_of(OSError(errno.ENOSPC, "No space left on device"), None)
    assert failure.exit_code == 3 and failure.message == "error: disk full; free space and run the same command again"


def test_a_disk_without_room_for_weights_is_told_as_full(
    small_disk: Path, finished_folder: Path, terminal: Any
) -> None:
    terminal.write(
        f"inputs: {{synth: {finished_folder / 'runs' / 'tiny'}}}\n"
        "model: {init: {hidden_size: 64, intermediate_size: 64, context: 512}}\n"
        "sft: {batch: 4, max_length: 512, training: {learning_rate: 1e-3, max_steps: 1}}\n"
    )
    done = terminal.xcoder("sft", "recipe.yaml", f"runs_dir={small_disk}", "name=tiny")
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("disk full") == 1 and "Traceback" not in done.stderr
    assert f"MiB free at {small_disk}/tiny" in done.stderr


def test_a_failed_write_names_its_file(small_disk: Path) -> None:
    with pytest.raises(OSError) as raised:
        write_text(small_disk / "big.txt", "x" * 1_000_000)
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(small_disk / "big.txt")
    assert f"free at {small_disk}" in failure_of(raised.value, None).message
    assert os.listdir(small_disk) == []


def test_other_errors_on_a_full_disk_are_told_as_what_they_are(small_disk: Path) -> None:
    with pytest.raises(OSError):
        (small_disk / "filler").write_bytes(bytes(1_000_000))
    with pytest.raises(OSError) as raised:
        (small_disk / "missing").read_text()
    assert "disk full" not in failure_of(raised.value, small_disk).message
    assert "disk full" not in failure_of(InputError("os error 28"), small_disk).message
    assert "disk full" in failure_of(RuntimeError("writing failed"), small_disk).message
