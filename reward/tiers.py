"""Isolation tiers, chosen by trying them, not by kernel version. docs/judge.md lists what each of them does not stop.

Besides `TIERS` there is "none", a process with limits alone, for trusted programs where a recipe says so.
"""

from contextlib import closing
from functools import cache

from reward.sandbox import protocol
from reward.worker import CompileError, Job, Worker
from xcoder_core.errors import EnvironmentLacks, InfrastructureError

TIERS = ("A", "B", "C", "D")
"""From the strongest on."""
MADE_OF = {
    "A": "namespaces, Landlock and seccomp",
    "B": "Landlock and seccomp",
    "C": "namespaces with their own root folder, and seccomp",
    "D": "seccomp alone; no file can be opened",
}
NOT_STOPPED = {
    "A": "learning that a path exists, its size and its times",
    "B": "learning that a path exists, its size and its times; seeing the numbers of other processes",
    "C": "nothing beyond what no tier stops",
    "D": "seeing the numbers of other processes; C++ does not work, nor a module whose name is made up at run time",
}
"""What a program can do besides computing, measuring time, and reading the interpreter's library (not in D)."""

PROBE = """
import os, socket
def make(path):
    # A new file under a name that no one can have laid a link under, or taken to make the attempt fail.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.unlink(path)
    except OSError:
        pass
escaped = []
for name, attempt in {
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "network": socket.socket,
    "read": lambda: open("/etc/passwd").close(),
    "list": lambda: os.listdir("/"),
    "write": lambda: make(f"/tmp/probe-{os.urandom(8).hex()}"),
}.items():
    try:
        attempt()
        escaped.append(name)
    except OSError:
        continue
print(*escaped)
"""
"""Tries what the tiers refuse and prints what succeeded: nothing, where the tier holds."""


def form_tier(wanted: str | None, allow_unsandboxed: bool) -> str:
    """The strongest tier that can be formed here, or exactly `wanted`. Raises `EnvironmentLacks` with the reasons."""
    reasons = []
    for tier in TIERS if wanted is None else (wanted,):
        reason = why_not(tier)
        if reason is None:
            return tier
        reasons.append(f"tier {tier}: {reason}")
    if allow_unsandboxed and wanted is None:
        return "none"
    raise EnvironmentLacks(
        f"programs cannot be isolated on this machine ({'; '.join(reasons)}). Use a kernel with seccomp and, better, "
        "Landlock (5.13 or later, enabled), or set judge.allow_unsandboxed: true to run trusted programs without "
        "isolation"
    )


@cache
def why_not(tier: str) -> str | None:
    """None where the tier holds on this machine, found by attacking it from inside; else what is missing."""
    try:
        with closing(Worker(tier, for_functions=False)) as worker:
            (run,) = worker.run(PROBE_JOB)
    except (EnvironmentLacks, InfrastructureError, CompileError) as error:
        return str(error)
    if run.status == 0 and not run.output.strip():
        return None
    escaped = (run.output + run.error).decode("utf-8", "replace").strip() or "it failed"
    return f"the self-test was not held: {escaped}"


PROBE_JOB = Job(
    protocol.PROGRAM, PROBE, "", ("",), seconds=5.0, wall=20.0, memory=256 << 20, output=1 << 20, report_first=False
)
