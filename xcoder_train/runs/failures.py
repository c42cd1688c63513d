"""What an exception means for the person at the terminal: one message and one exit code."""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from xcoder_core.errors import Terminated, XcoderError, chain
from xcoder_core.hub import hub_words
from xcoder_core.secrets import hide_forms

INTERRUPTED, TERMINATED = 130, 143
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SPACE_TO_WRITE = 1 << 20
# How safetensors (Rust) and shutil.copytree tell of a failed write, in words and without an errno.
_TOLD_IN_WORDS = re.compile(rf"\b(?:os error|errno) (?:{'|'.join(map(str, _DISK_FULL))})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """`is_ours` marks a fault in the code, which a traceback should accompany."""

    message: str
    exit_code: int
    is_ours: bool = False


def failure_of(error: BaseException, run_folder: Path | None) -> Failure:
    """The message and exit code of an exception, whatever it was wrapped in."""
    if isinstance(error, KeyboardInterrupt):
        status = TERMINATED if isinstance(error, Terminated) else INTERRUPTED
        return Failure("interrupted; the same command continues" if run_folder else "interrupted", status)
    full = _full_disk(error, run_folder)
    if full is not None:
        return Failure(full, 3)
    if isinstance(error, XcoderError):
        return Failure(hide_forms(f"error: {error}"), error.exit_code)
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename is not None:
        return Failure(f"error: {error.filename}: {error.strerror}; the machine refuses this place", 3)
    words = hub_words(error)
    if words is not None:
        return Failure(hide_forms(f"error: a hub or W&B refused or cannot be reached: {words}"), 3)
    said = hide_forms(f"{type(error).__name__}: {error}")
    return Failure(f"error: {said} (a fault of ours; the traceback is above)", 1, is_ours=True)


def _full_disk(error: BaseException, run_folder: Path | None) -> str | None:
    """The message about a full disk, or None where that is not what happened."""
    links = list(chain(error))
    telling = [link for link in links if _tells_of_full_disk(link)]
    named = [link.filename for link in telling if isinstance(link, OSError) and isinstance(link.filename, str)]
    place = _existing(Path(named[0])) if named else run_folder and _existing(run_folder)
    if not telling and (place is None or not _hides_a_full_disk(links, place)):
        return None
    free = "" if place is None else f": {_free(place) / (1 << 20):.1f} MiB free at {place}"
    again = "run the same command: it continues" if run_folder else "run the same command again"
    return f"error: disk full{free}; free space and {again}"


def _tells_of_full_disk(link: BaseException) -> bool:
    if isinstance(link, OSError) and link.errno is not None:
        return link.errno in _DISK_FULL
    return not isinstance(link, XcoderError) and _TOLD_IN_WORDS.search(str(link)) is not None


def _hides_a_full_disk(links: list[BaseException], place: Path) -> bool:
    """torch fails to write without any reason, so the free space is asked; not where the error has another reason."""
    if any(isinstance(link, XcoderError) or isinstance(link, OSError) and link.errno for link in links):
        return False
    is_disk = os.statvfs(place).f_blocks > 0  # /proc and its like have no space at all
    return is_disk and _free(place) < _SPACE_TO_WRITE


def _free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
