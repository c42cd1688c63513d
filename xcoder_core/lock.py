"""One process at a time holds a run.

The lock is an flock on an open file, so the kernel frees it when the last process that inherited the descriptor is
dead, however it died. The file's text names the owner, for people and for file systems shared between machines.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from xcoder_core.errors import InputError
from xcoder_core.parent_death import is_alive

LOCK_FILE = ".lock"
_JOB = "SLURM_JOB_ID"
_SECONDS_FOR_A_DEAD_OWNERS_CHILDREN = 10.0
_SECONDS_FOR_A_DEAD_MACHINE = 120.0
"""An NFS server keeps the locks of a machine that has died until its lease runs out, after 90 s as a rule."""
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclass(frozen=True)
class Owner:
    """Who holds a lock."""

    pid: int
    host: str
    started: str
    command: str
    job: str | None = None
    """Of Slurm. A job that is put back into the queue keeps its number and starts anew once all of it has ended."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started} ({self.command})"


class RunLock:
    """The held lock of one run folder. `descriptor` may be handed to child processes, which then hold it too."""

    def __init__(self, folder: Path, *, break_stale: bool = False) -> None:
        """Take the lock or raise InputError with its owner. `break_stale` takes over from an owner on another host."""
        self.path = folder / LOCK_FILE
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take()
            left_by = recorded_owner(folder)
            if left_by is not None and not _has_ended(left_by) and not break_stale:
                raise InputError(
                    f"{folder} is marked as held by {left_by}. That machine cannot be asked from here. If the process "
                    f"is dead, the lock is stale: run the same command with --break-lock, or delete {self.path}."
                )
            started = datetime.now(UTC).isoformat(timespec="seconds")
            command = " ".join(sys.argv)[:500]
            owner = Owner(os.getpid(), socket.gethostname(), started, command, os.environ.get(_JOB))
            self._record(json.dumps(asdict(owner)))
        except BaseException:
            os.close(self.descriptor)
            raise

    def release(self) -> None:
        """Let go; the file stays, empty."""
        self._record("")
        os.close(self.descriptor)

    def _take(self) -> None:
        """A dead owner's lock may outlive it for a moment; a living owner is not waited for."""
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                owner = recorded_owner(self.path.parent)
                if owner is None or time.monotonic() - started > _patience(owner):
                    holder = owner or "a process that has not written its name yet"
                    raise InputError(
                        f"{self.path.parent} is in use by {holder}. Wait for it, stop it, or give this run another "
                        "name: name=…"
                    ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                raise InputError(
                    f"the file system of {self.path.parent} has no file locks ({error.strerror}), which keep a second "
                    "process off a run. Mount it with locks (Lustre: `flock`), or put runs elsewhere: runs_dir=…"
                ) from error
            time.sleep(0.1)

    def _record(self, text: str) -> None:
        os.truncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)


def recorded_owner(folder: Path) -> Owner | None:
    """Who the lock file names; None when nobody does."""
    try:
        text = (folder / LOCK_FILE).read_text(encoding="utf-8")
        return Owner(**json.loads(text)) if text else None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None  # not there, written to this instant, or damaged: the kernel's lock decides


def _has_ended(owner: Owner) -> bool:
    """Of an owner whose lock we could take: known of this machine's processes, and of an earlier start of this job."""
    return owner.host == socket.gethostname() or (owner.job is not None and owner.job == os.environ.get(_JOB))


def _patience(owner: Owner) -> float:
    """Seconds to wait for the lock of an owner: of its children, if it is dead, or of the machine that it died with."""
    if owner.host == socket.gethostname():
        return 0.0 if is_alive(owner.pid) else _SECONDS_FOR_A_DEAD_OWNERS_CHILDREN
    return _SECONDS_FOR_A_DEAD_MACHINE if _has_ended(owner) else 0.0
