"""The supervisor's side of one zygote: start it, hand it jobs, read results, and notice when it fails.

Nothing that arrives here is trusted: lengths are checked, descriptors must be plain files, sizes are capped.
"""

import marshal
import os
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from pathlib import Path

from reward.sandbox import protocol
from reward.sandbox.filters import filters
from xcoder_core.errors import EnvironmentLacks, InfrastructureError

ROOT = str(Path(__file__).resolve().parents[1])
START_SECONDS = 60.0
END_SECONDS = 2.0
GRACE_SECONDS = 10.0
"""How much longer than its own limits a job may take before the zygote is taken for dead."""
TEST_OVERHEAD_SECONDS = 1.0
SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL
PACKAGES = ("numpy", "sortedcontainers", "cyaron", "colorful", "xeger")
"""Installed packages that programs may import."""
SYSTEM_READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
ROOM_FOR_PACKAGES = 96 << 20
"""Memory below which each test imports what it reaches: numpy takes some 80 MiB, and where it finds less it may end its
process or go on trying without end."""
ENDED_BY_A_LIBRARY = {4, 6, 7, 11}
"""SIGILL, SIGABRT, SIGBUS, SIGSEGV: how a template dies of a library that does not end it with an exit status."""
CRASHED_COMPILER = ENDED_BY_A_LIBRARY | {24}
"""With SIGXCPU: how a template dies of the source that it compiles."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a zygote gets to know of a submission. `output` and `memory` are bytes, `wall` and `seconds` seconds."""

    mode: int
    code: str
    function_name: str
    inputs: tuple[str, ...]
    seconds: float
    wall: float
    memory: int
    output: int
    report_first: bool
    executable: int | None = None
    """A compiled program's descriptor; `code` is then empty."""
    packages_once: bool = True
    """Whether packages that the program names are imported once for all tests."""
    calls: int = 1
    """Function calls that one process makes, each with `seconds` of CPU time."""

    @property
    def wall_cap(self) -> float:
        """Wall-clock cap of the whole job in seconds, compiling included."""
        return GRACE_SECONDS + 20 + len(self.inputs) * (self.wall + TEST_OVERHEAD_SECONDS)


@dataclass(frozen=True, slots=True)
class RawRun:
    """How one test's process ended and what it wrote (standard output is cut at the output cap)."""

    status: int
    late: bool
    cpu_seconds: float
    wall_seconds: float
    resident_kib: int
    output: bytes
    output_bytes: int
    error_bytes: int
    error: bytes


class CompileError(Exception):
    """The program does not compile; the message says why."""


class DeadlinePassed(InfrastructureError):
    """The caller's deadline came before the job's end."""


class Interruption:
    """Ends at once, from another thread, what a thread waits for: a program, a compiler, its turn to compile."""

    def __init__(self) -> None:
        self.is_set = False
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def set(self) -> None:
        """End what is waited for now, and whatever would be waited for later."""
        with self._lock:
            self.is_set = True
            if self._end is not None:
                self._end()

    @contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """Within it, `set` calls `end`, which must not raise or wait. Raises `InfrastructureError` once it is set."""
        with self._lock:
            self.check()
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None

    def check(self) -> None:
        """Raise `InfrastructureError` where it is set."""
        if self.is_set:
            raise InfrastructureError("it was interrupted: nobody waits for the verdict any more")


class Worker:
    """One zygote of a tier ("A" to "D", or "none"), for one thread at a time. Raises `EnvironmentLacks` where the tier
    cannot be formed.

    One `for_functions` has the modules that function problems and the `livecodebench` policy need.
    """

    def __init__(self, tier: str, *, for_functions: bool) -> None:
        self.tier = tier
        self.for_functions = for_functions
        self.interruption = Interruption()
        try:
            self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._errors = os.fdopen(os.memfd_create("zygote-errors"), "r+b", buffering=0)
            with far:
                self._process = subprocess.Popen(
                    interpreter_command(f"from reward.sandbox import zygote; zygote.main({far.fileno()})"),
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=[far.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            raise InfrastructureError(f"a zygote cannot be started: {error}") from error
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        readable, listable, packages = _library_paths()
        start = {
            "tier": self.tier,
            "for_functions": self.for_functions,
            "forget_path": ROOT,
            "packages": packages,
            "importable": PACKAGES,
            "readable": readable,
            "listable": listable,
            "filters": None if self.tier == "none" else filters(self.tier == "D"),
        }
        self._control.settimeout(START_SECONDS)
        try:
            self._control.send(marshal.dumps(start))
            answer = self._control.recv(4096)
        except OSError as error:
            raise InfrastructureError(f"the zygote did not start: {error}; {self._last_words()}") from error
        if not answer:
            raise InfrastructureError(f"the zygote died while starting: {self._last_words()}")
        if answer.startswith(protocol.LACKS):
            reason = answer.removeprefix(protocol.LACKS).decode("utf-8", "replace")
            raise EnvironmentLacks(f"isolation tier {self.tier} cannot be formed here: {reason}")

    def run(self, job: Job, deadline: float | None = None) -> Generator[RawRun, None, None]:
        """Yield each test's run, in order. Closing the iterator drops the tests that are left.

        Raises `CompileError`; `InfrastructureError` where the zygote or the template failed or `interruption` was set
        (the worker must then be closed), `DeadlinePassed` past `deadline` (in `time.monotonic`).
        """
        job = replace(job, packages_once=job.packages_once and job.memory >= ROOM_FOR_PACKAGES)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        received = 0
        try:
            with near, far, self.interruption.ended_by(lambda: _hang_up(near)):
                descriptor = _job_memfd(job)
                try:
                    message = protocol.JOB_WALL.pack(job.wall_cap)
                    descriptors = [descriptor, far.fileno()]
                    if job.executable is not None:
                        descriptors.append(job.executable)
                    self._control.settimeout(START_SECONDS)
                    socket.send_fds(self._control, [message], descriptors)
                finally:
                    os.close(descriptor)
                    far.close()
                for run in self._receive(near, job, deadline):
                    received += 1
                    yield run
        except OSError as error:
            raise InfrastructureError(f"the zygote is gone: {error}; {self._last_words()}") from error
        except (CompileError, GeneratorExit):
            self._await_end()
            raise
        status = self._await_end()
        if received == len(job.inputs):
            return
        if job.packages_once and (os.WIFEXITED(status) or os.WTERMSIG(status) in ENDED_BY_A_LIBRARY):
            # OpenBLAS ends its process where memory is short. Each test is to meet that where it imports the package.
            yield from self.run(replace(job, inputs=job.inputs[received:], packages_once=False), deadline)
        elif received == 0 and os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHED_COMPILER:
            raise CompileError(f"the compiler was ended by signal {os.WTERMSIG(status)}")
        else:
            raise InfrastructureError(f"the template ended with wait status {status}; {self._last_words()}")

    def _receive(self, near: socket.socket, job: Job, deadline: float | None) -> Iterator[RawRun]:
        """Results, to the last one or to the template's end. Raises as `run` does."""
        end = time.monotonic() + job.wall_cap + GRACE_SECONDS
        if deadline is not None:
            end = min(end, deadline)
        for _ in job.inputs:
            left = end - time.monotonic()
            if left <= 0:
                raise self._too_late(deadline)
            near.settimeout(left)
            try:
                message, descriptors, _, _ = socket.recv_fds(near, protocol.MESSAGE_BYTES + 1, 1)
            except TimeoutError:
                raise self._too_late(deadline) from None
            try:
                if not message:
                    return
                kind, run = _read_result(message, descriptors, job.output)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            if kind == protocol.KIND_COMPILE_ERROR:
                raise CompileError(run.error.decode("utf-8", "replace"))
            yield run

    def _too_late(self, deadline: float | None) -> InfrastructureError:
        if deadline is not None and time.monotonic() >= deadline:
            return DeadlinePassed("the deadline passed before the job's end")
        return InfrastructureError(f"the job did not end within its wall-clock cap; {self._last_words()}")

    def _await_end(self) -> int:
        """Wait until every process of the job is dead; the template's wait status."""
        if self.interruption.is_set:  # the template may not have noticed; closing the worker ends it
            raise InfrastructureError("the worker was interrupted")
        self._control.settimeout(GRACE_SECONDS)
        try:
            message = self._control.recv(protocol.DONE.size + 1)
            (status,) = protocol.DONE.unpack(message)
        except (OSError, struct.error) as error:
            raise InfrastructureError(f"the zygote did not end the job: {error}; {self._last_words()}") from error
        return int(status)

    def _last_words(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size
        text = os.pread(self._errors.fileno(), 1000, max(0, size - 1000)).decode("utf-8", "replace").strip()
        return "; ".join(dict.fromkeys(text.splitlines())) or "it left no message"  # what was tried twice says it twice

    def close(self) -> None:
        """End the zygote and everything below it.

        A closed control socket makes the zygote end by itself, and its CPU time is then accounted for.
        """
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __del__(self) -> None:
        """For a worker that nobody got hold of, since its thread failed at that instant."""
        if hasattr(self, "_process"):
            self.close()


ENVIRONMENT = {
    "LD_BIND_NOW": "1",  # lazy binding would be redone in every child
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "MALLOC_ARENA_MAX": "1",  # an arena reserves 64 MiB of address space per thread
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""The whole environment of a zygote."""


def _hang_up(connection: socket.socket) -> None:
    """Make whoever reads from it see its end."""
    with suppress(OSError):  # the other side has just hung up by itself
        connection.shutdown(socket.SHUT_RDWR)


def _library_paths() -> tuple[list[str], list[str], str | None]:
    """Readable paths, folders of which only the names can be listed, and the folder of installed packages."""
    standard_library = sysconfig.get_path("stdlib")
    # A virtual environment names its own folder here, with every package that is installed.
    binary_library = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    shared_library = sysconfig.get_config_var("LIBDIR") or "/usr/lib"
    readable = [standard_library, binary_library, *SYSTEM_READABLE]
    readable += [str(path) for path in Path(shared_library).glob("libpython*")]
    packages = sysconfig.get_path("platlib")
    if not os.path.isdir(packages):
        return readable, [], None
    beside = [f"{name}.libs" for name in PACKAGES]
    readable += [path for name in (*PACKAGES, *beside) if os.path.exists(path := os.path.join(packages, name))]
    return readable, [packages], packages


def _job_memfd(job: Job) -> int:
    code = job.code.encode("utf-8", "surrogatepass")
    name = job.function_name.encode()
    inputs = [text.encode("utf-8", "surrogatepass") for text in job.inputs]
    seconds = (job.seconds * job.calls, job.seconds, job.wall)
    how = (job.mode, job.report_first, job.packages_once)
    return sealed_memory("job", protocol.job_parts(how, (job.memory, job.output, *seconds), code, name, inputs))


def interpreter_command(program: str) -> list[str]:
    """The command line of an interpreter that finds the standard library and this project alone."""
    return [sys.executable, "-s", "-P", "-S", "-B", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); {program}"]


def sealed_memory(name: str, parts: list[bytes], flags: int = 0) -> int:
    """A sealed memfd that holds `parts` one after another."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    try:
        content = memoryview(b"".join(parts))
        while content:
            content = content[os.write(descriptor, content) :]
        fcntl(descriptor, F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_result(message: bytes, descriptors: list[int], cap: int) -> tuple[int, RawRun]:
    """Parse a template's message. Raises `InfrastructureError` where it is not one."""
    if len(message) < protocol.RESULT.size:
        raise InfrastructureError("the template sent a message that is too short")
    fields = protocol.RESULT.unpack_from(message)
    kind, status, late, cpu, wall, resident, output_bytes, error_bytes, tail_bytes = fields
    end_of_tail = protocol.RESULT.size + tail_bytes
    inline = len(message) - end_of_tail
    if descriptors:
        if inline != 0 or not stat.S_ISREG(os.fstat(descriptors[0]).st_mode):
            raise InfrastructureError("the template sent an output that is not a plain file")
        output = os.pread(descriptors[0], min(max(output_bytes, 0), cap), 0)
    else:
        if inline < 0 or inline != output_bytes:
            raise InfrastructureError("the template sent lengths that do not add up")
        output = message[end_of_tail:]
    error = message[protocol.RESULT.size : end_of_tail]
    return kind, RawRun(status, bool(late), cpu, wall, resident, output, output_bytes, error_bytes, error)
