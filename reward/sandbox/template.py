"""The template: a fork of the zygote per submission, from which each test's process is forked.

It enters the submission's Landlock domain, memory limit and outer filter, compiles once, imports the well-known
modules that the program names (so that no test pays for them), and forks one child per test. It never runs the
submission. What it reports is checked by the supervisor; if a hostile source took it over through the compiler, it
could falsify its own outputs only, and it does not know the expected ones.
"""

import ctypes
import fcntl
import gc
import math
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass
from types import CodeType
from typing import Any, NoReturn

from reward.sandbox import closed, kernel, landlock, livecodebench, privileges
from reward.sandbox.programs import CPU_BACKSTOP, EXTRA_DESCRIPTOR, NativeProgram, PythonProgram
from reward.sandbox.protocol import (
    ERROR_TAIL_BYTES,
    FUNCTION,
    FUNCTION_SHARED,
    INLINE_BYTES,
    JOB,
    KIND_COMPILE_ERROR,
    KIND_RESULT,
    LIVECODEBENCH_FUNCTION,
    LIVECODEBENCH_PROGRAM,
    NATIVE,
    PROGRAM,
    RESULT,
)

IMPORTED_ONCE = frozenset(
    [
        "array",
        "base64",
        "calendar",
        "cmath",
        "contextlib",
        "cyaron",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "hashlib",
        "inspect",
        "json",
        "numbers",
        "numpy",
        "pprint",
        "queue",
        "secrets",
        "sortedcontainers",
        "statistics",
        "struct",
        "textwrap",
        "traceback",
        "types",
        "uuid",
        "zlib",
    ]
)
"""Imported in the template where the program names them. Their code is the environment's own, not the program's."""

MODULE_NAMES = {
    PROGRAM: "__main__",
    FUNCTION: "solution",
    FUNCTION_SHARED: "solution",
    LIVECODEBENCH_PROGRAM: "tmp_sol",
    LIVECODEBENCH_FUNCTION: "tmp_sol",
}
"""What a program finds in `__name__`, by mode."""

FAILED = 70
"""Exit status of a template or child whose own machinery failed: the verdict is IE."""
WOKEN_BY = {signal.SIGCHLD, signal.SIGIO}
"""Blocked and taken synchronously: a child ended; the supervisor closed the result socket (early stop, or it died) or
the zygote died."""
DESCRIPTORS = 96
FUNCTION_RECURSION_LIMIT = 50_000
BATCH_TESTS = 16
"""Tests whose memfds are made, and whose results are reported, together: what is done outside the loop of forks
page-faults once a batch instead of once a test."""
BATCH_BYTES = 1 << 20
BATCH_SECONDS = 0.02
COMPILE_CPU_SECONDS = 20
TEMPLATE_CPU_SECONDS, TEMPLATE_CPU_SECONDS_PER_TEST = 2.0, 0.02
CPU_CLOCK_OF_PROCESS = 0b010
"""clock_getcpuclockid(3): the low bits of the clock of a process's scheduled CPU time."""
SHORTEST_NAP = 0.005
STACK_BYTES = 64 << 20
PR_SET_SECCOMP_SYSCALL_MODE = 1
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]


class BpfProgram(ctypes.Structure):
    """A filter in the form that seccomp(2) takes, holding its own instructions alive."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    def __init__(self, code: bytes) -> None:
        self.code = ctypes.create_string_buffer(code, len(code))
        super().__init__(len(code) // 8, ctypes.addressof(self.code))


@dataclass(slots=True)
class Filters:
    """The seccomp filters: of a template, of a test's process on top of it, of a compiled program's template."""

    outer: BpfProgram
    inner: BpfProgram
    native: BpfProgram


@dataclass(slots=True)
class Box:
    """What every job of a zygote shares. `baseline` is the interpreter's own address space in bytes; `is_closed`
    says that programs can open no file (tier D)."""

    baseline: int
    is_closed: bool
    ruleset: int | None
    filters: Filters | None
    prelude: dict[str, Any]


def wait(pid: int, wall: float, cpu: float = math.inf) -> tuple[bool, int, resource.struct_rusage]:
    """Reap `pid`, killing it at `wall` seconds of wall clock or `cpu` of CPU time: (killed, wait status, usage).

    The CPU clock is read here because RLIMIT_CPU counts whole seconds of sampled time: on a crowded virtual machine
    it was seen to strike at 0.7 of the limit.
    """
    started = time.monotonic()
    cpu_clock = (~pid << 3) | CPU_CLOCK_OF_PROCESS
    left = min(wall, cpu)
    while left > 0:
        woken = signal.sigtimedwait(WOKEN_BY, left)
        if woken is not None and woken.si_signo == signal.SIGIO:
            os.kill(pid, signal.SIGKILL)
            os._exit(0)
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if reaped:
            return False, status, usage
        cpu_left = cpu - time.clock_gettime(cpu_clock)
        left = min(wall - (time.monotonic() - started), max(cpu_left, SHORTEST_NAP) if cpu_left > 0 else 0)
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return True, status, usage


def serve(descriptors: list[int], box: Box, zygote: int) -> NoReturn:
    """Run one job to its end. Raises only where our own machinery fails."""
    job, result, *executable = descriptors
    os.setpgid(0, 0)
    privileges.die_with_parent(signal.SIGIO, zygote)  # which `wait` answers by killing the child
    fcntl.fcntl(result, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(result, fcntl.F_SETFL, os.O_RDWR | os.O_ASYNC)
    header = os.pread(job, JOB.size, 0)
    mode, report_first, tests, code_bytes, name_bytes, memory, output, cpu, call_cpu, wall = JOB.unpack(header)
    sizes = [int.from_bytes(os.pread(job, 8, JOB.size + 8 * i), "little") for i in range(tests)]
    at = JOB.size + 8 * tests
    source = os.pread(job, code_bytes, at)
    name = os.pread(job, name_bytes, at + code_bytes).decode()
    at += code_bytes + name_bytes
    out = socket.socket(fileno=result)
    restrict(box, mode, box.baseline + memory, max(output, *sizes))
    program: PythonProgram | NativeProgram
    if executable:
        program = NativeProgram(executable[0], memory)
    else:
        code = compile_source(source, mode, out)
        for module in sorted(IMPORTED_ONCE.intersection(code.co_names)):
            try:
                __import__(module)
            except Exception:  # the program meets the same error when it imports the module itself
                continue
        if box.is_closed:
            closed.import_all(code, IMPORTED_ONCE)
        program = PythonProgram(mode, code, make_scope(mode, box), name, call_cpu, box.is_closed)
    own_cpu = time.process_time() + TEMPLATE_CPU_SECONDS + TEMPLATE_CPU_SECONDS_PER_TEST * tests
    backstop = math.ceil(max(own_cpu, CPU_BACKSTOP * cpu))
    resource.setrlimit(resource.RLIMIT_CPU, (backstop, backstop))
    runner = Runner(program, box, job, out, cpu, wall)
    gc.freeze()
    gc.enable()
    runner.run_all(at, sizes, bool(report_first))
    os._exit(0)


def restrict(box: Box, mode: int, address_space: int, file_bytes: int) -> None:
    """Limits, Landlock domain and outer filter of the template and, below them, of every child.

    Limits that suit both are set here once: setting them in each child cost an eighth of a test.
    """
    for limit, value in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_CPU_SECONDS, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard == -1 else min(STACK_BYTES, hard), hard))
    if box.ruleset is not None:
        landlock.restrict_self(box.ruleset)
    if box.filters is not None:
        install(box.filters.native if mode == NATIVE else box.filters.outer)


def make_scope(mode: int, box: Box) -> dict[str, Any]:
    """The program's globals. A function problem's program is imported, as LiveCodeBench does it: it is not `__main__`,
    finds the prelude's names, and may recurse deeper."""
    module_name = MODULE_NAMES[mode]
    module = sys.modules["__main__"] = sys.modules[module_name] = type(sys)(module_name)
    scope = module.__dict__
    if mode != PROGRAM:
        scope.update(box.prelude)
        sys.setrecursionlimit(FUNCTION_RECURSION_LIMIT)
    scope.update(__name__=module_name, __builtins__=__builtins__, __file__="program.py")
    return scope


def install(program: BpfProgram) -> None:
    """Enter a seccomp filter for good."""
    kernel.check(kernel.libc.syscall(SYS_SECCOMP, PR_SET_SECCOMP_SYSCALL_MODE, 0, ctypes.byref(program)), "seccomp")


def compile_source(source: bytes, mode: int, out: socket.socket) -> CodeType:
    """The program's code object; where there is none, say why and end."""
    try:
        if mode == LIVECODEBENCH_PROGRAM:
            return livecodebench.compile_program(source)
        if mode == LIVECODEBENCH_FUNCTION:
            return livecodebench.compile_function(source)
        return compile(source, "program.py", "exec", dont_inherit=True)
    except Exception as error:  # SyntaxError, ValueError (NUL), MemoryError, RecursionError, OverflowError
        text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:ERROR_TAIL_BYTES]
        out.send(RESULT.pack(KIND_COMPILE_ERROR, 0, 0, 0.0, 0.0, 0, 0, 0, len(text)) + text)
        os._exit(0)


@dataclass(slots=True)
class Finished:
    """A test that ended, with its memfds still open."""

    files: tuple[int, int, int]
    late: bool
    status: int
    usage: resource.struct_rusage
    wall_seconds: float
    output_bytes: int
    error_bytes: int


@dataclass(slots=True)
class Runner:
    """The loop of forks over a job's tests."""

    program: PythonProgram | NativeProgram
    box: Box
    job: int
    out: socket.socket
    cpu: float
    wall: float

    def run_all(self, at: int, sizes: list[int], report_at_once: bool) -> None:
        """Run the tests whose inputs lie from `at` on in the job, and report each."""
        reported = time.monotonic()
        while sizes:
            files = []
            for size in sizes[:BATCH_TESTS]:
                files.append(self.make_files(at, size))
                at += size
            del sizes[:BATCH_TESTS]
            finished: list[Finished] = []
            waiting_bytes = 0
            for triple in files:
                test = self.run_one(triple)
                finished.append(test)
                waiting_bytes += test.output_bytes + test.error_bytes
                if report_at_once or waiting_bytes > BATCH_BYTES or time.monotonic() - reported > BATCH_SECONDS:
                    self.report(finished)
                    finished, waiting_bytes, report_at_once, reported = [], 0, False, time.monotonic()
            self.report(finished)

    def make_files(self, at: int, size: int) -> tuple[int, int, int]:
        """Standard input holding `size` bytes of the job from `at` on; empty standard output and standard error."""
        given = os.memfd_create("stdin")
        end = at + size
        while at < end:
            sent = os.sendfile(given, self.job, at, end - at)
            if sent == 0:
                raise OSError("the job is shorter than its header says")
            at += sent
        if size:
            os.lseek(given, 0, os.SEEK_SET)
        return given, os.memfd_create("stdout"), os.memfd_create("stderr")

    def run_one(self, files: tuple[int, int, int]) -> Finished:
        """Fork the test's process and wait for its end."""
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                self.become_child(files)
            finally:  # a child that could not be held in: a SIGKILL that no limit explains is judged IE
                os.kill(os.getpid(), signal.SIGKILL)
        late, status, usage = wait(pid, self.wall, self.cpu)
        wall_seconds = time.monotonic() - started
        output_bytes, error_bytes = os.lseek(files[1], 0, os.SEEK_END), os.lseek(files[2], 0, os.SEEK_END)
        return Finished(files, late, status, usage, wall_seconds, output_bytes, error_bytes)

    def become_child(self, files: tuple[int, int, int]) -> NoReturn:
        """Give up all that the program must not have, then run it."""
        given, output, error = files
        os.dup2(given, 0)
        os.dup2(error, 2)
        os.dup2(output if self.program.prints else error, 1)
        first_closed = EXTRA_DESCRIPTOR
        if (extra := self.program.extra_descriptor(output)) is not None:
            if self.box.ruleset == EXTRA_DESCRIPTOR:
                self.box.ruleset = os.dup(EXTRA_DESCRIPTOR)
            os.dup2(extra, EXTRA_DESCRIPTOR)
            first_closed += 1
        self.program.limit()
        if self.box.ruleset is not None:
            landlock.restrict_self(self.box.ruleset)
        os.closerange(first_closed, 1 << 16)
        if self.box.filters is not None:
            install(self.box.filters.inner)
        self.program.run()

    def report(self, finished: list[Finished]) -> None:
        """Send results and release their files. Ends the process where the supervisor listens no more."""
        for test in finished:
            given, output, error = test.files
            output_bytes, error_bytes = test.output_bytes, test.error_bytes
            tail = os.pread(error, ERROR_TAIL_BYTES, max(0, error_bytes - ERROR_TAIL_BYTES)) if error_bytes else b""
            message = RESULT.pack(
                KIND_RESULT,
                test.status,
                test.late,
                test.usage.ru_utime + test.usage.ru_stime,
                test.wall_seconds,
                test.usage.ru_maxrss,
                output_bytes,
                error_bytes,
                len(tail),
            )
            try:
                if output_bytes <= INLINE_BYTES:
                    inline = os.pread(output, output_bytes, 0) if output_bytes else b""
                    self.out.send(message + tail + inline)
                else:
                    socket.send_fds(self.out, [message + tail], [output])
            except (BrokenPipeError, ConnectionResetError):
                os._exit(0)
            for descriptor in test.files:
                os.close(descriptor)
