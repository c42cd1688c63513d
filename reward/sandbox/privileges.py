"""What a process gives up for good: capabilities, new privileges, being read by others, outliving its parent."""

import ctypes
import os
import struct

from reward.sandbox.kernel import check, libc, prctl

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAPABILITY_VERSION_3 = 0x20080522
HIGHEST_CAPABILITY = 63
NO_ROOT_LOCKED = 0b101111
"""Securebits: user 0 gets no capability from its number, at exec or at setuid, and this cannot be undone."""


def give_up_privileges() -> None:
    """No capabilities, in no namespace, whatever the user; never any again; memory closed to ptrace and /proc."""
    if _has_capabilities():
        prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED)
        for capability in range(HIGHEST_CAPABILITY + 1):
            if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) == -1:
                break  # the first number that this kernel does not know
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    check(libc.capset(header, bytes(24)), "capset")
    prctl(PR_SET_DUMPABLE, 0)


def _has_capabilities() -> bool:
    header, sets = struct.pack("Ii", CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    check(libc.capget(header, sets), "capget")
    effective = struct.unpack("6I", sets.raw)[0::3]
    return any(effective)


def die_with_parent(signal_number: int, parent: int | None) -> None:
    """Be killed when the parent thread ends. `parent` is its process id, or None where it lies in another namespace."""
    libc.prctl(PR_SET_PDEATHSIG, signal_number)  # cannot fail with a valid signal
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # it ended before the line above


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be reaped."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
