"""System calls that Python's standard library does not offer. Imported by the zygote: ctypes and errno only."""

import ctypes
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)

malloc, free, fcntl = libc.malloc, libc.free, libc.fcntl
malloc.restype, free.argtypes, free.restype = ctypes.c_void_p, (ctypes.c_void_p,), None
"""Looked up here: the first use of a name costs more than the call."""

F_SETFL, F_SETOWN = 4, 8
"""Here because the module `fcntl` is one more library for every process of a job to carry."""

SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""The same numbers on every architecture."""
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
SECCOMP_SET_MODE_FILTER = 1


def check(result: int, what: str) -> int:
    """Pass on what a libc function returned. Raises `OSError` where it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class BpfProgram(ctypes.Structure):
    """A filter in the form that seccomp(2) takes, holding its own instructions alive."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    def __init__(self, code: bytes) -> None:
        self.code = ctypes.create_string_buffer(code, len(code))
        super().__init__(len(code) // 8, ctypes.addressof(self.code))


def install(program: BpfProgram) -> None:
    """Enter a seccomp filter for good."""
    check(libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program)), "seccomp")


def notify(descriptor: int, process: int) -> None:
    """Have SIGIO sent to `process` when something happens on a socket. Raises `OSError`."""
    check(fcntl(descriptor, F_SETOWN, process), "fcntl(F_SETOWN)")
    check(fcntl(descriptor, F_SETFL, os.O_RDWR | os.O_ASYNC), "fcntl(F_SETFL)")


quick = ctypes.PyDLL(None)
"""libc without errno and without letting other threads run meanwhile: what is called between forks."""
fork = quick.fork
"""As `os.fork` without what that does for other threads' sake. There are none where it is called, and nothing that it
would set anew has changed: each page that it touches is one more for the child to copy."""
_SIGNALS = (ctypes.c_ulong * 16)(1 << signal.SIGCHLD - 1 | 1 << signal.SIGIO - 1)
_TIMEOUT, _STATUS, _USAGE = (ctypes.c_long * 2)(), ctypes.c_int(), (ctypes.c_long * 18)()
_signals, _timeout = ctypes.byref(_SIGNALS), ctypes.byref(_TIMEOUT)
_status, _usage = ctypes.byref(_STATUS), ctypes.byref(_USAGE)
_sigtimedwait, _wait4 = quick.sigtimedwait, quick.wait4


def wait_for_signal(seconds: float) -> int:
    """Wait for SIGCHLD or SIGIO, which must be blocked: the signal's number, or -1 when the time has passed.

    This and `reap` are `signal.sigtimedwait` and `os.wait4` without the objects that those make, which took a third of
    what a template does for a test.
    """
    _TIMEOUT[0], _TIMEOUT[1] = int(seconds), int(seconds % 1 * 1e9)
    return int(_sigtimedwait(_signals, None, _timeout))


def reap(pid: int, options: int) -> bool:
    """True where the process has ended and is reaped; see `last_reaped`."""
    return bool(_wait4(pid, _status, options, _usage) == pid)


def last_reaped() -> tuple[int, float, int]:
    """Wait status, CPU seconds and peak resident KiB of the process that was reaped last, its own children included."""
    seconds = _USAGE[0] + _USAGE[2] + (_USAGE[1] + _USAGE[3]) / 1e6
    return _STATUS.value, seconds, _USAGE[4]


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument. Raises `OSError`."""
    check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option}, {value})")
