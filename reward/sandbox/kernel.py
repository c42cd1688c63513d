"""System calls that Python's standard library does not offer. Imported by the zygote: ctypes and errno only."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""The same numbers on every architecture."""


def check(result: int, what: str) -> int:
    """Pass on what a libc function returned. Raises `OSError` where it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument. Raises `OSError`."""
    check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option}, {value})")
