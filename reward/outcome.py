"""From how a process ended to what is said about its program.

The rules, in order. Ended by the wall-clock cap, or more CPU used than the limit: TLE. Output or standard error
reached its cap: OLE. More memory held than the limit and an interpreter explain (see `protocol.STACKS`); ended badly
with an uncaught MemoryError that is not runaway recursion; or killed near its memory limit: MLE. Killed by a SIGKILL
that none of our limits explains: IE (somebody else's doing, such as the kernel's out-of-memory killer; a
program cannot signal itself). Any other bad end: RE, also a function that never returned.
"""

import os
import re
import signal

from reward.sandbox import protocol
from reward.verdict import Verdict
from reward.worker import Job, RawRun

NEAR_MEMORY_LIMIT = 0.9
INTERPRETER_BYTES = 64 << 20
"""Resident memory that a process may have beyond the program's own."""
MEMORY_ERROR = re.compile(
    rb"(?:^|\n)(?:[\w.]*\._?Array)?MemoryError\b[^\n]*\s*$"
    rb"|^terminate called after throwing an instance of 'std::bad_(?:alloc|array_new_length)'"
)
RUNAWAY_RECURSION = b"[Previous line repeated "


def failure_of(run: RawRun, job: Job) -> Verdict | None:
    """The verdict on a test whose process did not end well, or None where its output decides."""
    killed = os.WIFSIGNALED(run.status) and os.WTERMSIG(run.status) == signal.SIGKILL
    out_of_shared_time = os.WIFSIGNALED(run.status) and os.WTERMSIG(run.status) == signal.SIGPROF
    near_memory_limit = run.resident_kib * 1024 >= NEAR_MEMORY_LIMIT * job.memory
    if run.late or run.cpu_seconds > job.seconds or out_of_shared_time:
        return Verdict.TLE
    if run.output_bytes >= job.output or run.error_bytes >= job.output:
        return Verdict.OLE
    if run.resident_kib * 1024 > job.memory + INTERPRETER_BYTES:
        return Verdict.MLE
    if run.status == 0:
        returned_nothing = job.mode in (protocol.FUNCTION, protocol.FUNCTION_SHARED) and run.output_bytes == 0
        return Verdict.RE if returned_nothing else None
    out_of_memory = MEMORY_ERROR.search(run.error) and RUNAWAY_RECURSION not in run.error
    if out_of_memory or (killed and near_memory_limit):
        return Verdict.MLE
    return Verdict.IE if killed else Verdict.RE
