"""What a test's process can become: Python code run in the process as it is, or an executable.

A `Mode` says how a job's source is made into a `Program`; `function_modes` holds those of function problems, which need
more modules than every other program should pay for.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from types import CodeType
from typing import NamedTuple, NoReturn

from reward.sandbox import child, kernel
from reward.sandbox.protocol import PROGRAM

EXTRA_DESCRIPTOR = 3
"""What a program has beside its standard streams: where a function's results go, or the executable."""
SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281}[os.uname().machine]
AT_EMPTY_PATH = 0x1000
EXECUTABLE_BYTES = 16 << 20
"""Address space for a static executable's own code and data, beside the memory limit."""

Start = Callable[[], NoReturn]


class Program(NamedTuple):
    """`start` runs it in a test's process and ends that; `prepare` comes before the process's filter, where there is
    something to do. Where it does not print its answer, it writes that to `EXTRA_DESCRIPTOR`."""

    start: Start
    prints: bool = True
    has_extra: bool = False
    prepare: Callable[[], None] | None = None


class Mode(NamedTuple):
    """How Python source becomes a program: what it finds in `__name__`, whether it finds the prelude's names as
    LiveCodeBench's function problems do, how it is compiled, and, from code, globals, the function's name and the CPU
    seconds of a call, how it is started. `compile` raises whatever the compiler raises."""

    module_name: str
    has_prelude: bool
    compile: Callable[[bytes], CodeType]
    starter: Callable[..., Start]
    prints: bool = False


def compile_plain(source: bytes) -> CodeType:
    """As `python3 program.py` compiles it."""
    return compile(source, "program.py", "exec", dont_inherit=True)


MODES = {PROGRAM: Mode("__main__", False, compile_plain, child.program_starter, prints=True)}
"""What every zygote can run, beside executables."""


class Rehearsal(NamedTuple):
    """A program that uses what programs usually use, and an input for it."""

    mode: int
    code: bytes
    function_name: bytes
    given: bytes


REHEARSAL = Rehearsal(
    PROGRAM,
    b"""
import sys, math
from collections import defaultdict
def solve(n):
    return [i * 2 for i in range(n)]
class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right
a, b = map(int, input().split())
words = [str(n) for n in solve(a)]
counts = defaultdict(int)
for line in sys.stdin:
    counts[line.strip()] += 1
print(a + b, len(counts), Pair(a, b).left)
print(*words)
sys.stdout.write("x" + chr(10))
""",
    b"",
    b"3 4\nfive\nsix\n",
)


def native_program(memory: int) -> Program:
    """The static executable in a sealed memfd at `EXTRA_DESCRIPTOR`. `memory` is its limit in bytes."""

    def prepare() -> None:
        """The memory limit without what Python itself needs, which also bounds the stack; signals as a program expects
        them, not as Python sets them."""
        address_space = memory + EXECUTABLE_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        stack = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    def start() -> NoReturn:
        """Become the executable. Returns, to be killed as a failure of ours, only where the kernel refuses."""
        arguments = (ctypes.c_char_p * 2)(b"program", None)
        environment = (ctypes.c_char_p * 1)(None)
        kernel.check(
            kernel.libc.syscall(SYS_EXECVEAT, EXTRA_DESCRIPTOR, b"", arguments, environment, AT_EMPTY_PATH), "execveat"
        )
        raise AssertionError("execveat returned")

    return Program(start, has_extra=True, prepare=prepare)
