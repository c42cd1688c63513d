"""The zygote: a small Python process per worker, from which templates and programs are forked.

It is executed afresh with an empty environment, never forked from the supervisor, so it holds no token, no GPU
context, no open file and no expected output. It preloads what programs usually import, enters its isolation tier,
and then only forks a template per job and waits. It never reads a byte of a submission.

Cost was measured, and page faults are most of it: at-fork hooks are kept out (threading, random and logging register
some that triple the cost of a fork), `compile` and `fork` are warmed up, and the heap is frozen out of the garbage
collector's sight. Because random's hook is kept out, every program starts from the same `random` state (seed 0), as
it starts from the same hash seed: a program that draws random numbers gives the same output each time.
"""

import _socket
import builtins
import gc
import io
import marshal
import os
import resource
import signal
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import NoReturn

from reward.sandbox import isolation, kernel, programs, protocol, template

PRELOADED = """
    abc atexit bisect collections collections.abc copy functools heapq io itertools math operator random re string
    sys threading time typing
""".split()
REHEARSALS = 12
THREADS_AND_PROCESSES = 512
"""In a user namespace of their own; elsewhere the kernel would count the user's other processes too."""


def main(control_descriptor: int) -> NoReturn:
    """Read the start message, become the zygote of the tier it names, say so, and serve jobs until the end."""
    isolation.die_with_parent(signal.SIGKILL, None)
    control = _socket.socket(fileno=above_the_reserved(control_descriptor))
    log = above_the_reserved(os.dup(2))
    try:
        box = start(control, log)
        control.send(protocol.READY)
        gc.collect()
        gc.freeze()
        gc.disable()
        template.tidy_heap()
        serve(control, box)
    except BaseException as error:
        say(log, error)
        os._exit(template.FAILED)


def say(log: int, error: BaseException) -> None:
    """Leave the supervisor a word on what went wrong."""
    os.write(log, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace")[:1000])


def start(control: _socket.socket, log: int) -> template.Box:
    """Become what the start message says. Does not return where the tier cannot be formed."""
    message = control.recv(1 << 16)
    if not message:
        os._exit(0)
    wanted = marshal.loads(message)
    null = above_the_reserved(os.open("/dev/null", os.O_RDWR))  # opened now: tier C's root does not show it
    reserve_descriptors(null)
    modes, prelude, rehearsal = preload(wanted["for_functions"], wanted["forget_path"])
    if wanted["packages"] is not None:
        sys.meta_path.append(InstalledPackages(wanted["packages"], frozenset(wanted["importable"])))
    try:
        baseline, ruleset = enter(wanted["tier"], wanted["readable"], wanted["listable"])
    except OSError as error:
        control.send(protocol.LACKS + str(error).encode())
        os._exit(0)
    filters = wanted["filters"] and template.Filters(*map(kernel.BpfProgram, wanted["filters"]))
    is_closed = wanted["tier"] == "D"
    box = template.Box(baseline, is_closed, ruleset, filters, modes, prelude, log)
    template.set_common_limits()
    signal.pthread_sigmask(signal.SIG_BLOCK, template.WOKEN_BY)
    rehearse(box, rehearsal)
    reserve_descriptors(null)
    os.close(null)
    build_standard_streams()
    return box


def above_the_reserved(descriptor: int) -> int:
    """The same file under a number that no program will find taken."""
    while descriptor <= programs.EXTRA_DESCRIPTOR:
        descriptor = os.dup(descriptor)
    return descriptor


def reserve_descriptors(null: int) -> None:
    """The standard streams and the extra descriptor, which each test replaces."""
    for number in range(programs.EXTRA_DESCRIPTOR + 1):
        os.dup2(null, number)


def preload(for_functions: bool, forget_path: str) -> tuple[dict[int, programs.Mode], ModuleType | None, bytes]:
    """Import what programs usually import, without at-fork hooks, and make the module path that of a plain program.

    Returns what the zygote can run, by mode; the module that function problems are run in; and a program to rehearse.
    """
    modes, prelude, rehearsal = programs.MODES, None, programs.REHEARSAL
    register_at_fork = os.register_at_fork
    os.register_at_fork = lambda **hooks: None
    if for_functions:
        from reward.sandbox import function_modes

        modes, rehearsal = programs.MODES | function_modes.MODES, function_modes.REHEARSAL
        prelude = function_modes.make_prelude()
    sys.path.remove(forget_path)
    for name in PRELOADED:
        __import__(name)
    os.register_at_fork = register_at_fork
    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    sys.modules["random"].seed(0)
    sys.argv[:] = ["program.py"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "reward"]:
        del sys.modules[name]  # a program that imports `reward` must not find the judge
    return modes, prelude, rehearsal


class InstalledPackages:
    """Finds the `names` in the folder of installed packages; any other package is not there for a program."""

    def __init__(self, folder: str, names: frozenset[str]) -> None:
        self.folder = folder
        self.names = names

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self.folder], target) if name in self.names else None


def enter(tier: str, readable: list[str], listable: list[str]) -> tuple[int, int | None]:
    """Take on what the tier shares among all jobs. The interpreter's own address space in bytes, and the Landlock
    ruleset that each submission enters, where the tier has one. Raises `OSError` where the tier cannot be formed."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        baseline = int(stream.read().split()[0]) * resource.getpagesize()
    os.chdir("/")
    ruleset = None
    if tier in ("A", "C"):
        isolation.enter_namespaces(THREADS_AND_PROCESSES)
    if tier == "C":
        isolation.enter_own_root(readable, listable)
    elif tier in ("A", "B"):
        ruleset = isolation.create_ruleset(readable, listable)
    isolation.give_up_privileges()
    isolation.adopt_orphans()
    return baseline, ruleset


def build_standard_streams() -> None:
    """Text streams over descriptors 0, 1 and 2, which each test replaces below them."""
    sys.stdin = sys.__stdin__ = _text_stream(0, "<stdin>", "strict")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text_stream(1, "<stdout>", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text_stream(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def _text_stream(descriptor: int, name: str, errors: str) -> io.TextIOWrapper:
    mode = "r" if descriptor == 0 else "w"
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if descriptor == 0 else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=descriptor == 2)
    stream.mode = mode  # type: ignore[misc]
    return stream


def rehearse(box: template.Box, rehearsal: bytes) -> None:
    """Run a program as a job would, tests forked and in this process too, until nothing is done for the first time.

    Python builds much on first use: the syntax tree's types, method caches, specialised bytecode. What is built here is
    shared by all processes that are forked later; what is not, each of them pays for with copies of pages.
    """
    free = box._replace(ruleset=None, filters=None, is_closed=False)
    if box.prelude is not None:
        copy = ModuleType(box.prelude.__name__)
        copy.__dict__.update(box.prelude.__dict__)
        free = free._replace(prelude=copy)
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    descriptor = os.memfd_create("job")
    os.write(descriptor, rehearsal)
    for _ in range(REHEARSALS):
        job = template.read_job(descriptor)
        template.run_all(template.python_program(free, job, far), free, job, far)
        near.recv(protocol.MESSAGE_BYTES)
        build_standard_streams()
        os.lseek(0, 0, os.SEEK_SET)
        mode = free.modes[job.mode]
        code, scope = template.compile_source(job.source, mode, far), template.make_scope(mode, free)
        mode.starter(code, scope, job.name, job.call_cpu, end=lambda status: None)()
    signal.setitimer(signal.ITIMER_PROF, 0)
    near.close()
    far.close()
    os.close(descriptor)


def serve(control: _socket.socket, box: template.Box) -> NoReturn:
    """One template per job. Every process of a job is dead and reaped before the next is taken."""
    zygote, fork, kill_group, wait_for_any = os.getpid(), kernel.fork, kernel.quick.killpg, kernel.quick.waitpid
    while True:
        message, descriptors = protocol.receive(control, protocol.JOB_WALL.size, 3)
        if not message:
            os._exit(0)
        (job_wall,) = protocol.JOB_WALL.unpack(message)
        pid = fork()
        if pid == 0:
            try:
                control.close()
                template.serve(descriptors, box, zygote)
            except BaseException as error:
                say(box.log, error)
            os._exit(template.FAILED)
        if pid < 0:
            raise OSError("fork failed")
        for descriptor in descriptors:
            os.close(descriptor)
        _, status, _, _ = template.wait(pid, job_wall)
        # By libc, whose usual failure ("nothing was left") costs no exception object.
        kill_group(pid, signal.SIGKILL)
        while wait_for_any(-1, None, 0) > 0:
            continue
        try:
            control.send(protocol.DONE.pack(status))
        except BrokenPipeError:
            os._exit(0)
