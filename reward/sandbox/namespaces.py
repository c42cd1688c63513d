"""Namespaces of the zygote: no network, no shared memory or message queues, no process outside to name."""

import os
import signal

from reward.sandbox.kernel import check, libc
from reward.sandbox.privileges import die_with_parent

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWPID
NOBODY = 65534


def enter_namespaces() -> None:
    """Continue as process 1 of new namespaces, seen inside as user nobody; the caller stays outside as a mere waiter.

    The process that called never returns from here: it ends when process 1 does, and takes it along when killed.
    Raises `OSError` where the kernel or its settings do not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(ALL), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {user} 1"),
        ("gid_map", f"{NOBODY} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
            stream.write(text)
    first = os.fork()
    if first:
        os.closerange(0, 1 << 16)
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0x7F)
    die_with_parent(signal.SIGKILL, None)
