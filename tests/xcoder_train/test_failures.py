"""What a failure is told as: a full disk is a full disk, however a library words it."""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.pipeline import synthesise
from tests.loopback.openai_server import Fault, OpenAIServer
from xcoder_core.errors import InfrastructureError, InputError, XcoderError
from xcoder_core.files import write_text
from xcoder_core.stage import StageContext
from xcoder_train.runs.failures import failure_of


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


def test_only_a_fault_of_ours_is_told_as_ours() -> None:
    told = [failure_of(error, None) for error in (InputError("a"), InfrastructureError("b"), RuntimeError("c"))]
    assert [(failure.exit_code, failure.is_ours) for failure in told] == [(2, False), (3, False), (1, True)]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(422, body={"detail": "Unexpected fields: top_k"}), "422: Error code: 422: .*Unexpected fields: top_k"),
        (Fault(403, "the key has expired"), "403: Error code: 403 - the key has expired"),
        (Fault(502, "no upstream"), "could not be reached for .*no upstream"),
        (Fault("page"), "the server did not stream, it sent"),
        (None, "could not be reached for .*cannot connect to http://127.0.0.1"),
    ],
    ids=["refused", "key", "gateway", "page", "away"],
)
def test_a_server_that_refuses_or_is_away_is_told_in_its_own_words_with_exit_code_3(
    fault: Fault | None, words: str, tmp_path: Path
) -> None:
    with OpenAIServer(lambda messages, parameters: "", fault_of=lambda call: fault) as server:
        address = server.base_url if fault else "http://127.0.0.1:9/v1"
        patience = {"attempts": 1, "give_up_after": 0.2, "longest_wait": 0.1}
        teacher = {"kind": "openai", "server": {"base_url": address, "model": "model", **patience}}
        splits = {"train": {"use": "sft", "tasks": 1}}
        settings = SynthSettings.model_validate({"teacher": teacher, "splits": splits})
        with pytest.raises(XcoderError) as raised:
            synthesise(settings, JudgeSettings(), "plain", StageContext("run", "synth", "key", tmp_path, 0, {}))
    failure = failure_of(raised.value, tmp_path)
    assert failure.exit_code == 3 and not failure.is_ours
    assert re.search(words, failure.message)


def test_what_wandb_misses_is_told_in_its_own_words_with_exit_code_3(terminal: Any) -> None:
    terminal.write("synth: {splits: {train: {use: sft, tasks: 2, depth: [1]}}}\ntracking: {wandb: online}\n")
    done = terminal.xcoder("synth", "recipe.yaml")
    assert done.returncode == 3, done.stderr
    assert "No API key configured. Use `wandb login`" in done.stderr and "fault of ours" not in done.stderr
