"""One process at a time holds a run; the lock lives as long as its holders, however they die."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_core.lock import LOCK_FILE, RunLock, recorded_owner

HOLD = (
    "import subprocess, sys, time; from pathlib import Path; from xcoder_core.lock import RunLock\n"
    "lock = RunLock(Path(sys.argv[1]))\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(float(%r))' % sys.argv[2]],"
    " pass_fds=(lock.descriptor,), stdout=subprocess.DEVNULL)\n"
    "print('held', flush=True); time.sleep(60)\n"
)


def holder(folder: Path, child_seconds: float, *wrapped_by: str) -> "subprocess.Popen[str]":
    command = [*wrapped_by, sys.executable, "-c", HOLD, str(folder), str(child_seconds)]
    process = subprocess.Popen(command, stdout=-1, text=True)
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


def test_a_machine_of_another_name_is_refused_while_it_holds_the_run_and_after_it_was_killed(tmp_path: Path) -> None:
    """The other name is real: the holder has a host name space of its own, and the kernel's locks in common with us."""
    renamed = ["unshare", "--map-root-user", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*renamed, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine gives no process a host name of its own")
    process = holder(tmp_path, 0, *renamed)
    try:
        with pytest.raises(InputError, match=f"in use by process {process.pid} on elsewhere"):
            RunLock(tmp_path, break_stale=True)
    finally:
        process.kill()
        process.wait()
    with open(tmp_path / LOCK_FILE, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until its child has ended, too
    with pytest.raises(InputError, match=f"marked as held by process {process.pid} on elsewhere.*--break-lock"):
        RunLock(tmp_path)
    RunLock(tmp_path, break_stale=True).release()


def test_a_job_that_was_put_back_into_the_queue_takes_over_from_its_own_earlier_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm starts it on another machine as it may be, once every process of the earlier start has ended."""
    owner = {"pid": 7, "host": "elsewhere", "started": "then", "command": "xcoder sft r.yaml", "job": "41"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(owner))
    for other in (None, "42"):
        monkeypatch.setenv("SLURM_JOB_ID", other) if other else monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        with pytest.raises(InputError, match="process 7 on elsewhere"):
            RunLock(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    lock = RunLock(tmp_path)
    found = recorded_owner(tmp_path)
    assert found is not None and (found.pid, found.job) == (os.getpid(), "41")
    lock.release()


def test_an_earlier_start_of_this_job_on_a_machine_that_died_is_waited_for_until_its_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server frees the locks of a dead machine some time after Slurm has started the job anew elsewhere."""
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    owner = {"pid": 7, "host": "elsewhere", "started": "then", "command": "xcoder sft r.yaml", "job": "41"}
    with open(tmp_path / LOCK_FILE, "w") as server:
        server.write(json.dumps(owner))
        server.flush()
        fcntl.flock(server, fcntl.LOCK_EX)
        lease = threading.Timer(0.7, fcntl.flock, (server, fcntl.LOCK_UN))
        lease.start()
        RunLock(tmp_path).release()
        lease.join()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre without its mount option answers; no such file system can be mounted here."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=f"the file system of {tmp_path} has no file locks.*Lustre.*runs_dir="):
        RunLock(tmp_path)


def test_a_lock_that_is_really_held_cannot_be_broken(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with pytest.raises(InputError, match="is in use by"):
        RunLock(tmp_path, break_stale=True)
    lock.release()


def test_a_lock_file_of_any_bytes_names_nobody_and_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff\xfe{")
    assert recorded_owner(tmp_path) is None
    RunLock(tmp_path).release()
