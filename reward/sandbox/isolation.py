"""What holds a program in beside seccomp: privileges given up, Landlock, namespaces, and a root of its own.

Landlock, see landlock(7), says what a program may touch in the file system, and that it signals nobody outside its own
domain. TCP, signals and abstract sockets are refused as far as the kernel's ABI version knows them. It does not cover
`stat`: a program can learn that a path exists, never what it holds.
"""

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Sequence

from reward.sandbox import kernel
from reward.sandbox.kernel import check, libc, prctl

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAPABILITY_VERSION_3 = 0x20080522
HIGHEST_CAPABILITY = 63
NO_ROOT_LOCKED = 0b101111
"""Securebits: user 0 gets no capability from its number, at exec or at setuid, and this cannot be undone."""
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWPID
NOBODY = 65534
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1 << 5, 1 << 12, 1 << 14, 1 << 18, 1 << 21
MNT_DETACH = 2
SAME_BITS = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1 << 10 | 1 << 11
"""Mount flags whose bits statvfs reports unchanged (the last two are noatime and nodiratime). A namespace of a user's
own may not drop any that the mount has."""
ST_RELATIME = 1 << 12
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
MOUNT_POINTS = ("/tmp", "/mnt", "/var")
PASSABLE = 0o111
HIDE_OTHERS = "hidepid=4"
"""Since Linux 5.8: whom one may not trace, one does not see, whatever the group."""
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
STREAMS = {"stdin": "0", "stdout": "1", "stderr": "2", "fd": ""}


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


def enter_namespaces(most: int) -> None:
    """Continue as process 1 of new namespaces, as user nobody, with `most` threads and processes in all. Raises
    `OSError` where the kernel does not allow it.

    The process that called does not return: it waits outside, ends when process 1 does, and takes it along when killed.
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
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def enter_own_root(readable: Sequence[str], listable: Sequence[str], writable: Sequence[str] = ()) -> None:
    """Go on in a root, for kernels without Landlock, that shows `readable` and `writable` alone; and of `listable`
    folders, that they exist. Needs `enter_namespaces` before it; the old root is left for good.

    Paths that do not exist are left out. Raises `OSError` where the kernel does not allow it.
    """
    sources = {path: os.open(path, os.O_PATH) for path in (*readable, *writable) if os.path.exists(path)}
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    root = next(path for path in MOUNT_POINTS if os.path.isdir(path))
    _mount("none", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    shown: list[str] = []
    for path in sorted(sources):  # a folder before what lies in it
        if not any(path.startswith(f"{above}/") for above in shown):
            _show(root + path, sources[path], is_writable=path in writable)
            shown.append(path)
    for descriptor in sources.values():
        os.close(descriptor)
    made = [path for path in listable if not any(path.startswith(f"{above}/") for above in shown)]
    for path in made:
        os.makedirs(root + path, exist_ok=True)
    _make_streams(root)
    for path in (*shown, *made, "/dev/stdin"):  # the way there can be gone, not looked around on
        while (path := os.path.dirname(path)) != "/":
            if path not in made:
                os.chmod(root + path, PASSABLE)
    os.chmod(root, PASSABLE)
    _mount(None, root, None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(root)
    check(libc.syscall(SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def _show(target: str, source: int, *, is_writable: bool) -> None:
    """Bind an opened path to `target`: it may lie below the mount point, which hides it by now."""
    path = f"/proc/self/fd/{source}"
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT))
    _mount(path, target, None, MS_BIND | MS_REC)
    has = os.statvfs(target).f_flag
    kept = has & SAME_BITS | (MS_RELATIME if has & ST_RELATIME else 0)
    read_only = 0 if is_writable else MS_RDONLY
    _mount(None, target, None, MS_REMOUNT | MS_BIND | read_only | MS_NOSUID | MS_NODEV | kept)


def _make_streams(root: str) -> None:
    """/dev/stdin and its like, over a /proc that shows a process itself and no other."""
    os.makedirs(f"{root}/proc")
    _mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, HIDE_OTHERS)
    os.makedirs(f"{root}/dev")
    for name, number in STREAMS.items():
        os.symlink(f"/proc/self/fd/{number}".rstrip("/"), f"{root}/dev/{name}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [None if text is None else text.encode() for text in (source, target, kind)]
    check(libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()), f"mount on {target}")
