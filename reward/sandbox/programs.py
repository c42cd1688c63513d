"""What a test's process can become: Python code run in the process as it is, or an executable.

A `Mode` says how a job's source is made into a `Program`; `function_modes` holds those of function problems, which need
more modules than every other program should pay for.

A process of Python code ends without Python's own shutdown, which would cost more than everything else. What it does
for an honest program is done by hand: threads are joined, exit functions and finalisers run, open files flushed. Most
of what a test costs are copies of pages, one for each object that is first touched after the fork. So whatever can be
looked up before the fork is, and is held by a closure.
"""

import _thread
import atexit
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import CodeType
from typing import Any, NamedTuple, NoReturn, TextIO

from reward.sandbox import kernel
from reward.sandbox.protocol import PROGRAM, job_parts

EXTRA_DESCRIPTOR = 3
"""What a program has beside its standard streams: where a function's results go, or the executable."""
SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281}[os.uname().machine]
AT_EMPTY_PATH = 0x1000
EXECUTABLE_BYTES = 16 << 20
"""Address space for a static executable's own code and data, beside the memory limit."""

Scope = dict[str, Any]
"""The globals of a program."""
FileBase = __import__("_io")._IOBase
FINALISED = ("__del__", "FileIO", "Wrapper", "Writer")
"""Parts of names, of which every program has one whose objects need a shutdown, beside those that `open` to write."""
WRITING_MODES = frozenset(mode + kind for mode in ("w", "a", "x", "r+", "w+", "a+", "x+") for kind in ("", "b", "t"))
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


def program_starter(code: CodeType, scope: Scope, *_: object, end: Callable[[int], NoReturn] = os._exit) -> Start:
    """A function that does what `python3 program.py` does, and gives its exit status to `end`."""
    run, modules, run_exit_functions, count_threads = exec, sys.modules, atexit._run_exitfuncs, _thread._count
    original, system, may_leave_objects = sys.__stdout__, sys, _may_leave_objects(code)

    def start() -> NoReturn:
        status = 1
        try:
            try:
                run(code, scope)
                status = 0
            except SystemExit as request:
                status = _requested_status(request)
            except BaseException:
                print_exception()
            if count_threads() and "threading" in modules:
                modules["threading"]._shutdown()
            run_exit_functions()
            files = _finalise() if may_leave_objects else ()
            stdout = system.stdout
            if stdout is original:
                if stdout is not None and not stdout.closed:
                    stdout.flush()
            else:
                _flush_both(stdout, original)
            for stream in files:
                with suppress(BaseException):
                    stream.flush()
        except BaseException:
            status = 1
            print_exception()
        finally:
            end(status)

    return start


def _may_leave_objects(code: CodeType) -> bool:
    """Whether the program may hold, when it ends, a file that it writes to or an object with a finaliser."""
    parts = list(_parts(code))
    names = " ".join(name for part in parts for name in (*part.co_names, *part.co_varnames))
    if any(name in names for name in FINALISED):
        return True
    return "open" in names and not all(WRITING_MODES.isdisjoint(part.co_consts) for part in parts)


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def names_in(code: CodeType) -> set[str]:
    """Names of modules, globals and attributes, in functions and classes, too."""
    return {name for part in _parts(code) for name in part.co_names}


def import_each(names: Iterable[str]) -> None:
    """Import what can be imported. A program meets the same error when it imports one of the others itself."""
    for name in names:
        with suppress(Exception):
            __import__(name)


def _requested_status(request: SystemExit) -> int:
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code & 0xFF
    print(request.code, file=sys.stderr)
    return 1


def _flush_both(stdout: TextIO | None, original: TextIO | None) -> None:
    for stream in (stdout, original):
        if stream is not None and not getattr(stream, "closed", False):  # a class of the program's may lack it
            stream.flush()


def _finalise() -> list[Any]:
    """Run what objects define for their end, wherever the program holds them; the files among them are left to flush.

    What fails is ignored, as when an interpreter shuts down.
    """
    files = []
    for thing in gc.get_objects():
        if issubclass(type(thing), FileBase):
            files.append(thing)
        elif (finaliser := getattr(type(thing), "__del__", None)) is not None:
            with suppress(BaseException):
                finaliser(thing)
    return files


def print_exception() -> None:
    """What Python prints for an exception that nobody caught, without the frames of this side."""
    error = sys.exc_info()[1]
    try:
        if error is not None:
            trace = error.__traceback__
            sys.excepthook(type(error), error, trace.tb_next if trace is not None else None)  # not this module's frame
        sys.stdout.flush()
    except BaseException:
        return


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


MODES = {PROGRAM: Mode("__main__", False, compile_plain, program_starter, prints=True)}
"""What every zygote can run, beside executables."""


def rehearsal(mode: int, code: bytes, name: bytes, given: bytes) -> bytes:
    """A job with two tests, of a program that uses what programs usually use."""
    seconds = 60.0
    return b"".join(
        job_parts((mode, False, True), (1 << 30, 1 << 20, seconds, seconds, seconds), code, name, [given, given])
    )


REHEARSAL = rehearsal(
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
