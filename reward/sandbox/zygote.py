"""The zygote: a small Python process per worker, from which templates and programs are forked.

It is executed afresh with an empty environment, never forked from the supervisor, so it holds no token, no GPU
context, no open file and no expected output. It preloads what programs usually import, enters its isolation tier,
and then only forks a template per job and waits. It never reads a byte of a submission.

Cost was measured, and page faults are most of it: at-fork hooks are kept out (threading, random and logging register
some that triple the cost of a fork), `compile` and `fork` are warmed up, and the heap is frozen out of the garbage
collector's sight. Because random's hook is kept out, every program starts from the same `random` state (seed 0), as
it starts from the same hash seed: a program that draws random numbers gives the same output each time.
"""

import builtins
import gc
import io
import json
import os
import resource
import signal
import socket
import sys
from typing import Any, NoReturn

from reward.sandbox import kernel, landlock, namespaces, own_root, privileges, protocol, template

PRELOADED = [
    "abc",
    "atexit",
    "bisect",
    "collections",
    "collections.abc",
    "copy",
    "datetime",
    "functools",
    "heapq",
    "io",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "sys",
    "threading",
    "time",
    "typing",
]
PRELUDE = """
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools
import operator, io, sys, json
"""
"""What a function problem may use without importing it: LiveCodeBench's prelude, which its starter codes rely on."""
WARM_UP = """
import sys, collections
def f(n):
    return [i for i in map(int, '1 2'.split())]
class A:
    x = {1: f(2)}
"""
THREADS_AND_PROCESSES = 512
"""In a user namespace of their own; elsewhere the kernel would count the user's other processes too."""


def main(control_descriptor: int) -> NoReturn:
    """Read the `START` message, become the zygote of the tier it names, say so, and serve jobs until the end."""
    privileges.die_with_parent(signal.SIGKILL, None)
    control = socket.socket(fileno=control_descriptor)
    start_message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
    if not descriptors:
        os._exit(0)
    start = json.loads(start_message)
    outer = os.pread(descriptors[0], start["outer_bytes"], 0)
    inner = os.pread(descriptors[0], start["inner_bytes"], start["outer_bytes"])
    native = os.pread(descriptors[0], start["native_bytes"], start["outer_bytes"] + start["inner_bytes"])
    os.close(descriptors[0])
    preload(start["forget_path"], start["packages"])
    build_standard_streams()
    try:
        box = enter(start["tier"], start["readable"], start["listable"], (outer, inner, native))
    except OSError as error:
        control.send(json.dumps({"lacks": str(error)}).encode())
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, template.WOKEN_BY)
    warm_up()
    control.send(json.dumps({"tier": start["tier"]}).encode())
    gc.collect()
    gc.freeze()
    gc.disable()
    serve(control, box)


def preload(forget_path: str, packages: str | None) -> None:
    """Import what programs usually import, without at-fork hooks, and make the module path that of a plain program."""
    sys.path.remove(forget_path)
    if packages is not None:
        sys.path.append(packages)
    register_at_fork = os.register_at_fork
    os.register_at_fork = lambda **hooks: None
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


def enter(
    tier: str, readable: list[str], listable: list[str], filter_codes: tuple[bytes, bytes, bytes]
) -> template.Box:
    """Take on what the tier shares among all jobs; what is entered per submission and per test comes back as a box."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        baseline = int(stream.read().split()[0]) * resource.getpagesize()
    os.chdir("/")
    ruleset = None
    if tier in ("A", "C"):
        namespaces.enter_namespaces()
        resource.setrlimit(resource.RLIMIT_NPROC, (THREADS_AND_PROCESSES, THREADS_AND_PROCESSES))
    if tier == "C":
        own_root.enter_own_root(readable, listable)
    elif tier in ("A", "B"):
        ruleset = landlock.create_ruleset(readable, listable)
    privileges.give_up_privileges()
    privileges.adopt_orphans()
    filters = None if tier == "none" else template.Filters(*map(template.BpfProgram, filter_codes))
    prelude: dict[str, Any] = {}
    exec(PRELUDE, prelude)
    return template.Box(baseline, tier == "D", ruleset, filters, prelude)


def build_standard_streams() -> None:
    """Text streams over descriptors 0, 1 and 2, which each test replaces below them."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    sys.stdin = sys.__stdin__ = _text_stream(0, "<stdin>", "strict")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text_stream(1, "<stdout>", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text_stream(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def _text_stream(descriptor: int, name: str, errors: str) -> io.TextIOWrapper:
    mode = "r" if descriptor == 0 else "w"
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    buffer: Any = io.BufferedReader(raw) if descriptor == 0 else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=descriptor == 2)
    stream.mode = mode  # type: ignore[misc]
    return stream


def warm_up() -> None:
    """Pay once for what Python builds on first use: the syntax tree's types, specialised bytecode, caches."""
    for _ in range(10):
        exec(compile(WARM_UP, "<warm-up>", "exec", dont_inherit=True), {})
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        template.wait(pid, 5.0)


def serve(control: socket.socket, box: template.Box) -> NoReturn:
    """One template per job. Every process of a job is dead and reaped before the next is taken."""
    zygote = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, protocol.JOB_WALL.size, 3)
        if not message:
            os._exit(0)
        (job_wall,) = protocol.JOB_WALL.unpack(message)
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                template.serve(descriptors, box, zygote)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace")[:1000])
            os._exit(template.FAILED)
        for descriptor in descriptors:
            os.close(descriptor)
        late, status, _ = template.wait(pid, job_wall)
        # By libc, whose usual failure ("nothing was left") costs no exception object.
        kernel.libc.killpg(pid, signal.SIGKILL)
        while kernel.libc.waitpid(-1, None, 0) > 0:
            continue
        try:
            control.send(protocol.DONE.pack(status, late))
        except BrokenPipeError:
            os._exit(0)
