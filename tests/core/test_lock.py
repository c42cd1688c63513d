"""One process at a time holds a run; the lock lives as long as its holders, however they die."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xcoder_train.core.errors import InputError
from xcoder_train.core.lock import LOCK_FILE, RunLock, recorded_owner

HOLD = (
    "import subprocess, sys, time; from pathlib import Path; from xcoder_train.core.lock import RunLock\n"
    "lock = RunLock(Path(sys.argv[1]))\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(float(%r))' % sys.argv[2]],"
    " pass_fds=(lock.descriptor,), stdout=subprocess.DEVNULL)\n"
    "print('held', flush=True); time.sleep(60)\n"
)


def holder(folder: Path, child_seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(child_seconds)], stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    process = holder(tmp_path, 0)
    try:
        with pytest.raises(InputError) as error:
            RunLock(tmp_path)
        assert f"process {process.pid} on {socket.gethostname()}" in str(error.value)
    finally:
        process.kill()
        process.wait()


def test_a_killed_holder_frees_the_run_once_its_children_are_dead(tmp_path: Path) -> None:
    process = holder(tmp_path, child_seconds=1.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    started = time.monotonic()
    RunLock(tmp_path).release()
    assert 0.3 < time.monotonic() - started < 8
    assert recorded_owner(tmp_path) is None


def test_an_owner_on_another_host_is_named_and_can_be_broken_by_hand(tmp_path: Path) -> None:
    owner = {"pid": 7, "host": "elsewhere", "started": "then", "command": "xcoder run r.yaml"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(owner))
    with pytest.raises(InputError, match="process 7 on elsewhere.*--break-lock"):
        RunLock(tmp_path)
    lock = RunLock(tmp_path, break_stale=True)
    found = recorded_owner(tmp_path)
    assert found is not None and found.pid == os.getpid()
    lock.release()
    RunLock(tmp_path).release()


def test_a_lock_that_is_really_held_cannot_be_broken(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with pytest.raises(InputError, match="is in use by"):
        RunLock(tmp_path, break_stale=True)
    lock.release()


def test_a_lock_file_of_any_bytes_names_nobody_and_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff\xfe{")
    assert recorded_owner(tmp_path) is None
    RunLock(tmp_path).release()
