"""The process that a compiler runs in: it enters the tier's isolation, sets limits, and becomes the compiler.

Unlike a program, a compiler starts other processes (assembler, linker) and writes files, in one folder.
"""

import ctypes
import json
import os
import resource
import sys
from typing import NoReturn

from reward.sandbox import kernel, landlock, namespaces, own_root, privileges

FAILED = 97
"""Exit status where the box could not be formed: nothing is known about the program."""
CPU_SECONDS = 30
PROCESS_BYTES = 2 << 30
FILE_BYTES = 64 << 20
PROCESSES = 64
DESCRIPTORS = 256
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def main() -> NoReturn:
    """Read what to do from the environment, and do it."""
    try:
        start = json.loads(os.environ.pop("BOX"))
        restrict(start["tier"], start["readable"], start["writable"], bytes.fromhex(start["filter"]))
        os.execve(start["command"][0], start["command"], dict(os.environ))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.stderr.flush()
    os._exit(FAILED)


def restrict(tier: str, readable: list[str], writable: str, filter_code: bytes) -> None:
    """Give up everything that compiling does not need. Raises `OSError`."""
    if tier in ("A", "C"):
        namespaces.enter_namespaces()
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    for limit, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, PROCESS_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    ruleset = None
    if tier == "C":
        own_root.enter_own_root(readable, [], [writable])
    elif tier != "none":
        ruleset = landlock.create_ruleset(readable, [], runnable=readable, writable=[writable])
    os.chdir(writable)
    privileges.give_up_privileges()
    if ruleset is not None:
        landlock.restrict_self(ruleset)
        os.close(ruleset)
    if tier != "none":
        code = ctypes.create_string_buffer(filter_code, len(filter_code))
        program = FilterProgram(len(filter_code) // 8, ctypes.addressof(code))
        kernel.check(
            kernel.libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program), 0, 0),
            "seccomp",
        )
