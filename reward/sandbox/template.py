"""The template: a fork of the zygote per submission, from which each test's process is forked.

It enters the submission's Landlock domain, memory limit and outer filter, compiles once, imports the well-known
modules that the program names, and forks one child per test. It never runs the submission. A hostile source that took
it over through the compiler could falsify its own outputs only, and it does not know the expected ones.
"""

import _socket
import _thread
import builtins
import ctypes
import gc
import io
import math
import os
import resource
import signal
import struct
import sys
import time
from types import CodeType, ModuleType
from typing import Any, NamedTuple, NoReturn

from reward.sandbox import isolation, kernel, protocol
from reward.sandbox.kernel import SECCOMP_SET_MODE_FILTER, SYS_SECCOMP
from reward.sandbox.programs import (
    EXECUTABLE_BYTES,
    EXTRA_DESCRIPTOR,
    Mode,
    Program,
    Scope,
    import_each,
    names_in,
    native_program,
)
from reward.sandbox.protocol import ERROR_TAIL_BYTES, INLINE_BYTES, KIND_RESULT, RESULT

IMPORTED_ONCE = frozenset(
    """
    array base64 calendar cmath contextlib cyaron dataclasses datetime decimal enum fractions hashlib inspect json
    numbers numpy pprint queue secrets sortedcontainers statistics struct textwrap traceback types uuid zlib
    """.split()
)
"""Imported in the template where the program names them. Their code is the environment's own, not the program's."""

IMPORTED_ON_FIRST_USE = "_strptime concurrent.futures.thread encodings.latin_1 encodings.utf_16 stringprep".split()
NUMPY_ON_FIRST_USE = "numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random".split()
"""What library functions import by themselves, long after the program has started."""
NEVER = frozenset(["antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"])
"""Modules that do something visible when they are imported, or need a screen."""
STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}

FAILED = 70
"""Exit status of a template or child whose own machinery failed: the verdict is IE."""
WOKEN_BY = {signal.SIGCHLD, signal.SIGIO}
"""Blocked and taken synchronously: a child ended; the supervisor closed the result socket (early stop, or it died) or
the zygote died."""
DESCRIPTORS = 96
MOST_DESCRIPTORS = 1 << 16
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
LARGE_REQUEST = 1 << 16
"""Bytes, above what malloc serves from its small bins and below what it maps."""
CACHED_CHUNKS = 7
"""Chunks of one size that malloc keeps at hand: a fork makes a lock, and finds one there."""
STACK_BYTES = 64 << 20


class Filters(NamedTuple):
    """The seccomp filters: of a template, of a test's process on top of it, of a compiled program's template."""

    outer: kernel.BpfProgram
    inner: kernel.BpfProgram
    native: kernel.BpfProgram


class Box(NamedTuple):
    """What every job of a zygote shares. `baseline` is the interpreter's own address space in bytes, `is_closed` says
    that programs can open no file (tier D), `log` is where a template says what went wrong."""

    baseline: int
    is_closed: bool
    ruleset: int | None
    filters: Filters | None
    modes: dict[int, Mode]
    prelude: ModuleType | None
    log: int


def wait(pid: int, wall: float, cpu: float = math.inf) -> tuple[bool, int, float, int]:
    """Reap `pid`, killing it at `wall` seconds of wall clock or `cpu` of CPU time: whether it was killed, its wait
    status, the CPU seconds that it used, and its peak resident KiB.

    The CPU clock is read here because RLIMIT_CPU counts whole seconds of sampled time: on a crowded virtual machine
    it was seen to strike at 0.7 of the limit.
    """
    started = time.monotonic()
    left = min(wall, cpu)
    while left > 0:
        if kernel.wait_for_signal(left) == signal.SIGIO:
            os.kill(pid, signal.SIGKILL)
            os._exit(0)
        if kernel.reap(pid, os.WNOHANG):
            return False, *kernel.last_reaped()
        cpu_left = cpu - time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)
        left = min(wall - (time.monotonic() - started), max(cpu_left, SHORTEST_NAP) if cpu_left > 0 else 0)
    os.kill(pid, signal.SIGKILL)
    kernel.reap(pid, 0)
    return True, *kernel.last_reaped()


def serve(descriptors: list[int], box: Box, zygote: int) -> NoReturn:
    """Run one job to its end. Raises only where our own machinery fails."""
    descriptor, result, *executable = descriptors
    os.setpgid(0, 0)
    isolation.die_with_parent(signal.SIGIO, zygote)  # which `wait` answers by killing the child
    kernel.notify(result, os.getpid())
    job = read_job(descriptor)
    out = _socket.socket(fileno=result)
    restrict(box, job)
    if executable:
        os.dup2(executable[0], EXTRA_DESCRIPTOR)
        program = native_program(job.memory)
    else:
        packages = [] if job.packages_once else [sys.meta_path.pop()]  # the zygote's finder, the last
        program = python_program(box, job, out)
        sys.meta_path += packages
    own_cpu = time.process_time() + TEMPLATE_CPU_SECONDS + TEMPLATE_CPU_SECONDS_PER_TEST * len(job.sizes)
    backstop = math.ceil(max(own_cpu, protocol.CPU_BACKSTOP * job.cpu))
    resource.setrlimit(resource.RLIMIT_CPU, (backstop, backstop))
    gc.freeze()
    gc.enable()
    tidy_heap()
    run_all(program, box, job, out)
    os._exit(0)


class Job(NamedTuple):
    """What the supervisor sent: see `protocol.JOB`. `sizes` are those of the inputs, which lie from `at` on in the file
    of `descriptor`."""

    descriptor: int
    mode: int
    report_first: bool
    packages_once: bool
    memory: int
    output: int
    cpu: float
    call_cpu: float
    wall: float
    sizes: tuple[int, ...]
    source: bytes
    name: str
    at: int


def read_job(descriptor: int) -> Job:
    """Everything but the inputs."""
    header = os.pread(descriptor, protocol.JOB.size, 0)
    mode, first, once, tests, code_bytes, name_bytes, memory, output, cpu, call_cpu, wall = protocol.JOB.unpack(header)
    text = os.pread(descriptor, 8 * tests + code_bytes + name_bytes, protocol.JOB.size)
    sizes, code_at = struct.unpack_from(f"<{tests}Q", text), 8 * tests
    name_at = code_at + code_bytes
    source, name, at = text[code_at:name_at], text[name_at:].decode(), protocol.JOB.size + len(text)
    return Job(descriptor, mode, first, once, memory, output, cpu, call_cpu, wall, sizes, source, name, at)


def tidy_heap() -> None:
    """Have malloc sort its free chunks now, which it would otherwise do in each process that is forked from here."""
    kernel.free(kernel.malloc(LARGE_REQUEST))
    locks = [_thread.allocate_lock() for _ in range(CACHED_CHUNKS)]
    del locks


def restrict(box: Box, job: Job) -> None:
    """Limits, Landlock domain and outer filter of the template and, below them, of every child.

    What suits both is set here once, and what suits every job in `set_common_limits`: in each child it cost an eighth
    of a test.
    """
    address_space = box.baseline + job.memory + (EXECUTABLE_BYTES if job.mode == protocol.NATIVE else 0)
    if protocol.STACKS in job.source:
        address_space += protocol.STACKS_BYTES
    file_bytes = max(job.output, *job.sizes)
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_CPU_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    if box.ruleset is not None:
        isolation.restrict_self(box.ruleset)
    if box.filters is not None:
        kernel.install(box.filters.native if job.mode == protocol.NATIVE else box.filters.outer)


def set_common_limits() -> None:
    """The limits that are the same for every job; the zygote takes them on."""
    for limit, value in (
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard == -1 else min(STACK_BYTES, hard), hard))


def python_program(box: Box, job: Job, out: _socket.socket) -> Program:
    """Compile, import what the program names, and make its globals."""
    mode = box.modes[job.mode]
    code = compile_source(job.source, mode, out)
    import_each(sorted(IMPORTED_ONCE.intersection(code.co_names)))
    if box.is_closed:
        import_for_closed(names_in(code))
        open_streams_by_descriptor()
    return Program(
        mode.starter(code, make_scope(mode, box), job.name, job.call_cpu), mode.prints, has_extra=not mode.prints
    )


def import_for_closed(names: set[str]) -> None:
    """In tier D, whose programs can open no file: import what the program names anywhere."""
    known = sys.stdlib_module_names | IMPORTED_ONCE
    modules = {name for name in names if name.partition(".")[0] in known - NEVER}
    later = IMPORTED_ON_FIRST_USE + (NUMPY_ON_FIRST_USE if "numpy" in modules else [])
    import_each((*sorted(modules), *later))


def open_streams_by_descriptor() -> None:
    """In tier D: `open("/dev/stdin")` gives standard input, as it does where paths can be opened."""
    real_open = io.open

    def open_stream(file: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(file, str) and file in STREAMS:
            return real_open(STREAMS[file], *arguments, **{"closefd": False, **options})
        return real_open(file, *arguments, **options)

    builtins.open = io.open = open_stream


def compile_source(source: bytes, mode: Mode, out: _socket.socket) -> CodeType:
    """The program's code object; where there is none, say why and end."""
    try:
        return mode.compile(source)
    except Exception as error:  # SyntaxError, ValueError (NUL), MemoryError, RecursionError, OverflowError
        text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:ERROR_TAIL_BYTES]
        out.send(RESULT.pack(protocol.KIND_COMPILE_ERROR, 0, 0, 0.0, 0.0, 0, 0, 0, len(text)) + text)
        os._exit(0)


def make_scope(mode: Mode, box: Box) -> Scope:
    """The program's globals. A function problem's program is imported, as LiveCodeBench does it: it is not `__main__`,
    finds the prelude's names, and may recurse deeper."""
    if mode.has_prelude:
        assert box.prelude is not None, "function problems go to zygotes of their own"
        module = box.prelude
        module.__dict__.update(__name__=mode.module_name, __builtins__=vars(builtins))
        sys.setrecursionlimit(FUNCTION_RECURSION_LIMIT)
    else:
        module = ModuleType(mode.module_name)
        module.__dict__.update(__builtins__=builtins, __file__="program.py")
    sys.modules["__main__"] = sys.modules[mode.module_name] = module
    return module.__dict__


def run_all(program: Program, box: Box, job: Job, out: _socket.socket) -> None:
    """Fork a process for each of the job's inputs, wait for its end, and report.

    All that a child does before its program starts stands in this one function, with names bound beforehand: after a
    fork, each object that is looked up or called costs the copy of a page, and these are most of what a test costs.
    """
    fork, dup2, close_range, seek, now = kernel.fork, os.dup2, os.closerange, os.lseek, time.monotonic
    start, prepare, ruleset, syscall = program.start, program.prepare, box.ruleset, kernel.quick.syscall
    inner = None if box.filters is None else ctypes.byref(box.filters.inner)
    prints = program.prints
    first_closed = EXTRA_DESCRIPTOR + program.has_extra
    cpu, wall, at, report_at_once, reported = job.cpu, job.wall, job.at, job.report_first, now()
    for first in range(0, len(job.sizes), BATCH_TESTS):
        files = []
        for size in job.sizes[first : first + BATCH_TESTS]:
            files.append(make_files(job.descriptor, at, size))
            at += size
        finished: list[Finished] = []
        waiting_bytes = 0
        for triple in files:
            given, output, error = triple
            dup2(given, 0)
            dup2(output if prints else error, 1)
            dup2(error, 2)
            if not prints:
                dup2(output, EXTRA_DESCRIPTOR)
            started = now()
            pid = fork()
            if pid == 0:
                try:
                    if prepare is not None:
                        prepare()
                    held = ruleset is None or syscall(kernel.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
                    close_range(first_closed, MOST_DESCRIPTORS)
                    held = held and (inner is None or syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, inner) == 0)
                    if held:
                        start()
                finally:  # a child that could not be held in: a SIGKILL that no limit explains is judged IE
                    os.kill(os.getpid(), signal.SIGKILL)
            if pid < 0:
                raise OSError("fork failed")
            late, status, used, resident = wait(pid, wall, cpu)
            ended = now()
            output_bytes, error_bytes = seek(output, 0, os.SEEK_END), seek(error, 0, os.SEEK_END)
            finished.append((triple, late, status, used, resident, ended - started, output_bytes, error_bytes))
            waiting_bytes += output_bytes + error_bytes
            if report_at_once or waiting_bytes > BATCH_BYTES or ended - reported > BATCH_SECONDS:
                report(out, finished)
                finished, waiting_bytes, report_at_once, reported = [], 0, False, ended
        report(out, finished)


Finished = tuple[tuple[int, int, int], bool, int, float, int, float, int, int]
"""A test that ended: its memfds, still open, whether a limit ended it, wait status, CPU seconds, peak resident KiB,
wall seconds, bytes of standard output and standard error. A plain tuple, because it is made between forks."""


def make_files(job: int, at: int, size: int) -> tuple[int, int, int]:
    """Standard input holding `size` bytes of the job from `at` on; empty standard output and standard error."""
    given = os.memfd_create("stdin")
    end = at + size
    while at < end:
        sent = os.sendfile(given, job, at, end - at)
        if sent == 0:
            raise OSError("the job is shorter than its header says")
        at += sent
    if size:
        os.lseek(given, 0, os.SEEK_SET)
    return given, os.memfd_create("stdout"), os.memfd_create("stderr")


def report(out: _socket.socket, finished: list[Finished]) -> None:
    """Send results and release their files. Ends the process where the supervisor listens no more."""
    for triple, late, status, used, resident, wall_seconds, output_bytes, error_bytes in finished:
        _, output, error = triple
        tail_at = max(0, error_bytes - ERROR_TAIL_BYTES)
        tail = os.pread(error, ERROR_TAIL_BYTES, tail_at) if error_bytes else b""
        message = RESULT.pack(
            KIND_RESULT, status, late, used, wall_seconds, resident, output_bytes, error_bytes, len(tail)
        )
        try:
            if output_bytes <= INLINE_BYTES:
                inline = os.pread(output, output_bytes, 0) if output_bytes else b""
                out.send(message + tail + inline)
            else:
                protocol.send_with_descriptor(out, message + tail, output)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
        for descriptor in triple:
            os.close(descriptor)
