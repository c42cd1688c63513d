"""The seccomp filters, built once by libseccomp in the supervisor and handed to the zygote as raw BPF.

The outer filter is an allowlist: what a program and its template need. The inner one takes back, in the program's own
process, what only the template needs; above all fork. Anything else fails with EPERM, so that honest programs see an
OSError; a foreign architecture's calls kill. Threads may be made, processes may not: without fork, RLIMIT_AS bounds
a program's memory and one SIGKILL leaves nothing of it.

Refused on purpose, beside the obvious: io_uring (goes round this filter), memfd_create (memory outside RLIMIT_AS),
flock and POSIX locks (a channel between programs), fcntl F_SETOWN and F_SETSIG, O_ASYNC and ioctl FIOASYNC (they
send signals without kill), F_SETPIPE_SZ (kernel memory), sockets other than a connected local pair.
"""

import errno
import tempfile
from functools import cache

from xcoder_core.errors import EnvironmentLacks

CHILD_CALLS = [
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "openat",
    "open",
    "close",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "lseek",
    "ftruncate",
    "mmap",
    "mprotect",
    "munmap",
    "brk",
    "mremap",
    "madvise",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "access",
    "faccessat",
    "faccessat2",
    "dup",
    "dup2",
    "dup3",
    "getpid",
    "gettid",
    "getppid",
    "exit",
    "exit_group",
    "futex",
    "set_robust_list",
    "get_robust_list",
    "getrandom",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "getcwd",
    "getdents64",
    "readlink",
    "readlinkat",
    "sysinfo",
    "uname",
    "getrusage",
    "times",
    "sigaltstack",
    "rseq",
    "getrlimit",
    "prlimit64",
    "sched_getaffinity",
    "sched_yield",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "poll",
    "select",
    "pselect6",
    "ppoll",
    "gettimeofday",
    "membarrier",
    "arch_prctl",
    "set_tid_address",
    "pipe",
    "pipe2",
    "time",
    "alarm",
    "setitimer",
    "getitimer",
    "epoll_create1",
    "epoll_create",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "eventfd2",
    "restart_syscall",
    "recvfrom",
]
TEMPLATE_CALLS = [
    "wait4",
    "memfd_create",
    "kill",
    "sendmsg",
    "rt_sigtimedwait",
    "close_range",
    "seccomp",
    "prctl",
    "sendfile",
    "setrlimit",
    "landlock_restrict_self",
]

COMPILER_CALLS = [
    "execve",
    "fork",
    "vfork",
    "wait4",
    "waitid",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "umask",
    "chdir",
    "fcntl",
    "ioctl",
    "statfs",
    "fstatfs",
    "fadvise64",
    "fallocate",
    "copy_file_range",
    "kill",
    "tgkill",
    "getpgrp",
]
"""What g++, the assembler and the linker need beside a program's calls."""
CLONE_NEW_NAMESPACES = 0x7E020080
CALLS_WITH_PATHS = ["open", "openat", "stat", "lstat", "access", "faccessat", "faccessat2", "readlink", "readlinkat"]
AT_EMPTY_PATH = 0x1000

FCNTL_COMMANDS = (0, 1, 2, 3, 1030, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ; F_SETFL (4) has a rule of its own."""
F_SETFL, O_ASYNC = 4, 0x2000
IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
CLONE_THREAD = 0x10000
FORK_FLAGS = (0x01200011, 0x11)
"""What fork() of glibc and of musl passes to clone."""
AF_UNIX = 1
RLIMIT_STACK = 3
LOW_WORD = 0xFFFFFFFF
OPTIMIZE_AS_TREE = 2


@cache
def filters(no_files: bool = False) -> tuple[bytes, bytes]:
    """The outer and the inner filter as BPF programs; with `no_files`, the inner one lets nothing be opened by path.

    Raises `EnvironmentLacks` without libseccomp.
    """
    seccomp = _library()
    return _outer(seccomp, []), _inner(seccomp, no_files)


@cache
def native_filter() -> bytes:
    """The outer filter of a compiled program's template: its child must become the program. What Landlock lets it
    execute is nothing in the file system, and in its own process it has no file to write an executable to."""
    return _outer(_library(), ["execveat"])


@cache
def compiler_filter() -> bytes:
    """What a compiler may call: no sockets, no tracing, no namespaces; Landlock says which files."""
    seccomp = _library()
    allowed = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    allowed.set_attr(seccomp.Attr.CTL_OPTIMIZE, OPTIMIZE_AS_TREE)
    for name in CHILD_CALLS + COMPILER_CALLS:
        _add(seccomp, allowed, seccomp.ALLOW, name)
    _add(seccomp, allowed, seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEW_NAMESPACES, 0))
    _add(seccomp, allowed, seccomp.ERRNO(errno.ENOSYS), "clone3")
    return _export(allowed)


def _library():  # type: ignore[no-untyped-def]
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise EnvironmentLacks(f"the judge needs libseccomp: {error}") from error
    return pyseccomp


def _outer(seccomp, more_calls: list[str]) -> bytes:  # type: ignore[no-untyped-def]
    allowed = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    allowed.set_attr(seccomp.Attr.CTL_OPTIMIZE, OPTIMIZE_AS_TREE)
    for name in CHILD_CALLS + TEMPLATE_CALLS + more_calls:
        _add(seccomp, allowed, seccomp.ALLOW, name)
    for command in FCNTL_COMMANDS:
        _add(seccomp, allowed, seccomp.ALLOW, "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, command))
    _add(
        seccomp,
        allowed,
        seccomp.ALLOW,
        "fcntl",
        seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, F_SETFL),
        seccomp.Arg(2, seccomp.MASKED_EQ, O_ASYNC, 0),
    )
    for request in IOCTL_REQUESTS:
        _add(seccomp, allowed, seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, request))
    _add(seccomp, allowed, seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    for flags in FORK_FLAGS:
        _add(seccomp, allowed, seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.EQ, flags))
    _add(seccomp, allowed, seccomp.ERRNO(errno.ENOSYS), "clone3")  # glibc then falls back to clone, which can be read
    _add(seccomp, allowed, seccomp.ALLOW, "socketpair", seccomp.Arg(0, seccomp.MASKED_EQ, LOW_WORD, AF_UNIX))
    _add(seccomp, allowed, seccomp.ALLOW, "sendto", seccomp.Arg(4, seccomp.EQ, 0))
    return _export(allowed)


def _inner(seccomp, no_files: bool) -> bytes:  # type: ignore[no-untyped-def]
    denied = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in TEMPLATE_CALLS:
        _add(seccomp, denied, refuse, name)
    _add(seccomp, denied, refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    if no_files:
        missing = seccomp.ERRNO(errno.ENOENT)  # what an honest program expects of a path that is not there
        for name in CALLS_WITH_PATHS:
            _add(seccomp, denied, missing, name)
        for name, place in (("newfstatat", 3), ("statx", 2)):  # without a path, they are how fstat is called
            _add(seccomp, denied, missing, name, seccomp.Arg(place, seccomp.MASKED_EQ, AT_EMPTY_PATH, 0))
    # Reading limits is harmless and programs raise their stack limit; the other limits stay as they are.
    _add(seccomp, denied, refuse, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))
    _add(
        seccomp,
        denied,
        refuse,
        "prlimit64",
        seccomp.Arg(2, seccomp.NE, 0),
        seccomp.Arg(1, seccomp.NE, RLIMIT_STACK),
    )
    return _export(denied)


def _add(seccomp, program, action: int, name: str, *arguments) -> None:  # type: ignore[no-untyped-def]
    """Add a rule. A call that this architecture does not have needs none: it stays refused."""
    number = LANDLOCK_RESTRICT_SELF if name == "landlock_restrict_self" else name
    program.add_rule(action, number, *arguments)


LANDLOCK_RESTRICT_SELF = 446
"""By number: libseccomp before 2.5.2 does not know the name."""


def _export(program) -> bytes:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryFile() as stream:
        program.export_bpf(stream)
        stream.seek(0)
        return stream.read()
