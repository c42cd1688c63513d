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
import os
import tempfile
from collections.abc import Sequence
from fcntl import F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_GETPIPE_SZ, F_SETFD, F_SETFL
from functools import cache
from resource import RLIMIT_STACK
from socket import AF_UNIX
from termios import FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, TCGETS, TIOCGWINSZ
from types import ModuleType
from typing import TYPE_CHECKING

from xcoder_core.errors import EnvironmentLacks

if TYPE_CHECKING:
    from pyseccomp import SyscallFilter

CHILD_CALLS = """
    read write readv writev pread64 pwrite64 preadv pwritev lseek ftruncate
    openat open close dup dup2 dup3 pipe pipe2 recvfrom
    fstat newfstatat stat lstat statx access faccessat faccessat2 readlink readlinkat getcwd getdents64
    mmap mprotect munmap brk mremap madvise membarrier
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
    getpid gettid getppid getuid geteuid getgid getegid
    exit exit_group futex set_robust_list get_robust_list rseq arch_prctl set_tid_address
    sched_getaffinity sched_yield getrlimit prlimit64 getrusage times sysinfo uname getrandom
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time alarm setitimer getitimer
    poll select pselect6 ppoll epoll_create1 epoll_create epoll_ctl epoll_wait epoll_pwait eventfd2
""".split()
LANDLOCK_RESTRICT_SELF = 446
"""By number: libseccomp before 2.5.2 does not know the name."""
TEMPLATE_CALLS: list[str | int] = [
    *"wait4 memfd_create kill sendmsg rt_sigtimedwait close_range seccomp prctl sendfile setrlimit".split(),
    LANDLOCK_RESTRICT_SELF,
]
COMPILER_CALLS = """
    execve fork vfork wait4 waitid kill tgkill getpgrp
    unlink unlinkat rename renameat renameat2 mkdir chmod fchmod fchmodat umask chdir
    fcntl ioctl statfs fstatfs fadvise64 fallocate copy_file_range
""".split()
"""What g++, the assembler and the linker need beside a program's calls."""
CLONE_NEW_NAMESPACES = 0x7E020080
CALLS_WITH_PATHS = "open openat stat lstat access faccessat faccessat2 readlink readlinkat".split()
AT_EMPTY_PATH = 0x1000

FCNTL_COMMANDS = (F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ)
"""F_SETFL has a rule of its own."""
IOCTL_REQUESTS = (TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX)
CLONE_THREAD = 0x10000
FORK_FLAGS = (0x01200011, 0x11)
"""What fork() of glibc and of musl passes to clone."""
LOW_WORD = 0xFFFFFFFF
OPTIMIZE_AS_TREE = 2


@cache
def filters(no_files: bool) -> tuple[bytes, bytes, bytes]:
    """As BPF programs: the outer and the inner filter, and the outer one of a compiled program's template; with
    `no_files`, the inner one lets nothing be opened by path.

    That template's child must become the program. What Landlock lets it execute is nothing in the file system, and in
    its own process it has no file to write an executable to. Raises `EnvironmentLacks` without libseccomp.
    """
    seccomp = _library()
    return _outer(seccomp, []), _inner(seccomp, no_files), _outer(seccomp, ["execveat"])


@cache
def compiler_filter() -> bytes:
    """What a compiler may call: no sockets, no tracing, no namespaces; Landlock says which files."""
    seccomp = _library()
    allowed = _allowlist(seccomp, CHILD_CALLS + COMPILER_CALLS)
    allowed.add_rule(seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEW_NAMESPACES, 0))
    return _export(allowed)


def _library() -> ModuleType:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise EnvironmentLacks(f"the judge needs libseccomp: {error}") from error
    return pyseccomp


def _allowlist(seccomp: ModuleType, calls: Sequence[str | int]) -> "SyscallFilter":
    """A filter that lets these calls pass and refuses all others."""
    allowed = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    allowed.set_attr(seccomp.Attr.CTL_OPTIMIZE, OPTIMIZE_AS_TREE)
    for call in calls:
        allowed.add_rule(seccomp.ALLOW, call)
    allowed.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # glibc then falls back to clone, which can be read
    return allowed


def _outer(seccomp: ModuleType, more_calls: list[str]) -> bytes:
    allowed = _allowlist(seccomp, [*CHILD_CALLS, *TEMPLATE_CALLS, *more_calls])
    for command in FCNTL_COMMANDS:
        allowed.add_rule(seccomp.ALLOW, "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, command))
    allowed.add_rule(
        seccomp.ALLOW,
        "fcntl",
        seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, F_SETFL),
        seccomp.Arg(2, seccomp.MASKED_EQ, os.O_ASYNC, 0),
    )
    for request in IOCTL_REQUESTS:
        allowed.add_rule(seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, LOW_WORD, request))
    allowed.add_rule(seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    for flags in FORK_FLAGS:
        allowed.add_rule(seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.EQ, flags))
    allowed.add_rule(seccomp.ALLOW, "socketpair", seccomp.Arg(0, seccomp.MASKED_EQ, LOW_WORD, AF_UNIX))
    allowed.add_rule(seccomp.ALLOW, "sendto", seccomp.Arg(4, seccomp.EQ, 0))
    return _export(allowed)


def _inner(seccomp: ModuleType, no_files: bool) -> bytes:
    denied = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for call in TEMPLATE_CALLS:
        denied.add_rule(refuse, call)
    denied.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    if no_files:
        missing = seccomp.ERRNO(errno.ENOENT)  # what an honest program expects of a path that is not there
        for name in CALLS_WITH_PATHS:
            denied.add_rule(missing, name)
        for name, place in (("newfstatat", 3), ("statx", 2)):  # without a path, they are how fstat is called
            denied.add_rule(missing, name, seccomp.Arg(place, seccomp.MASKED_EQ, AT_EMPTY_PATH, 0))
    # Reading limits is harmless and programs raise their stack limit; the other limits stay as they are.
    denied.add_rule(refuse, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))
    denied.add_rule(refuse, "prlimit64", seccomp.Arg(2, seccomp.NE, 0), seccomp.Arg(1, seccomp.NE, RLIMIT_STACK))
    return _export(denied)


def _export(program: "SyscallFilter") -> bytes:
    with tempfile.TemporaryFile() as stream:
        program.export_bpf(stream)
        stream.seek(0)
        return stream.read()
