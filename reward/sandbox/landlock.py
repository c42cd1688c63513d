"""Landlock: what a program may touch in the file system, and that it signals nobody outside its own domain.

See landlock(7). TCP, signals and abstract sockets are refused as far as the kernel's ABI version knows them. Landlock
does not cover `stat`: a program can learn that a path exists, never what it holds.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from reward.sandbox import kernel
from reward.sandbox.kernel import check, libc

EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
WRITE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14
"""Write and truncate files, make and remove files and folders, move them between folders."""
ABOUT_FILES = EXECUTE | READ_FILE | 1 << 1 | 1 << 14
"""The rights that a path which is not a folder can have."""
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""ABI version: how many file system rights it knows (all of them are handled, that is, refused)."""
BIND_AND_CONNECT_TCP = 0b11
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def create_ruleset(
    readable: Sequence[str], listable: Sequence[str], runnable: Sequence[str] = (), writable: Sequence[str] = ()
) -> int:
    """A ruleset's descriptor: read files and folders below `readable`, list folders (not read) below `listable`, also
    execute below `runnable`, also write below `writable`.

    Paths that do not exist are left out. Raises `OSError` where the kernel has no Landlock.
    """
    version = check(
        libc.syscall(kernel.SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION),
        "Landlock is not there",
    )
    handled_files = (1 << FILE_RIGHTS.get(version, 16)) - 1
    network = BIND_AND_CONNECT_TCP if version >= 4 else 0
    scope = SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0
    attributes = struct.pack("QQQ", handled_files, network, scope)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = check(
        libc.syscall(kernel.SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0),
        "landlock_create_ruleset",
    )
    for paths, rights in (
        (readable, READ_FILE | READ_DIR),
        (listable, READ_DIR),
        (runnable, EXECUTE),
        (writable, READ_FILE | READ_DIR | WRITE),
    ):
        for path in paths:
            _allow(ruleset, path, rights & handled_files & (~0 if os.path.isdir(path) else ABOUT_FILES))
    return ruleset


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = struct.pack("=Qi", rights, parent)
        check(
            libc.syscall(kernel.SYS_LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0),
            f"landlock_add_rule({path})",
        )
    finally:
        os.close(parent)


def restrict_self(ruleset: int) -> None:
    """Enter a domain of `ruleset`, nested in the present one. Needs no_new_privs. Raises `OSError`."""
    check(libc.syscall(kernel.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
