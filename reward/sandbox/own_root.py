"""A root of one's own, for kernels without Landlock: it shows the paths that may be read and nothing else.

Only in a mount namespace of one's own (`namespaces.enter_namespaces`). The old root is left for good.
"""

import ctypes
import os
from collections.abc import Sequence

from reward.sandbox.kernel import check, libc

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
STREAMS = {"stdin": "0", "stdout": "1", "stderr": "2", "fd": ""}


def enter_own_root(readable: Sequence[str], listable: Sequence[str], writable: Sequence[str] = ()) -> None:
    """Go on in a root that shows `readable` and `writable`; of `listable` folders, that they exist.

    Paths that do not exist are left out. Raises `OSError` where the kernel or its settings do not allow it.
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
    check(
        libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()),
        f"mount on {target}",
    )
