"""What an exception means for the person at the terminal: one message and one exit code."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xcoder_train.core.errors import XcoderError

INTERRUPTED = 130
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPACE_TO_WRITE = 1 << 20


@dataclass(frozen=True)
class Failure:
    """`is_ours` marks a fault in the code, which a traceback should accompany."""

    message: str
    exit_code: int
    is_ours: bool = False


def failure_of(error: BaseException, run_folder: Path | None) -> Failure:
    """The message and exit code of an exception, whatever it was wrapped in."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted; the same command continues", INTERRUPTED)
    full = _full_disk(error, run_folder)
    if full is not None:
        return Failure(full, 3)
    if isinstance(error, XcoderError):
        return Failure(f"error: {error}", error.exit_code)
    return Failure(f"error: {type(error).__name__}: {error} (a fault of ours; the traceback is above)", 1, is_ours=True)


def _full_disk(error: BaseException, run_folder: Path | None) -> str | None:
    """Libraries hide the errno of a failed write (torch, safetensors), so the free space is asked as well."""
    chain = list(_chain(error))
    named = next(
        (link.filename for link in chain if isinstance(link, OSError) and isinstance(link.filename, str)), None
    )
    place = _existing(Path(named) if named else run_folder or Path())
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    told = any(isinstance(link, OSError) and link.errno in _DISK_FULL for link in chain)
    if not told and (free >= _SPACE_TO_WRITE or any(isinstance(link, XcoderError) for link in chain)):
        return None
    space = f"{free / (1 << 20):.1f} MiB free at {place}"
    return f"error: disk full: {space}; free space and run the same command: it continues"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
