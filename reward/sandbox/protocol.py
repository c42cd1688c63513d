"""What supervisor, zygote and template say to each other. Fixed-size binary records; nothing is ever unpickled.

Supervisor to zygote, once: a message with the tier, paths and filters (marshalled by our own side); the answer is
`READY`, or `LACKS` and what is missing. Per job: an 8-byte message (the job's wall-clock cap)
with two descriptors, the job (a sealed memfd: header, input sizes, code, inputs) and the template's end of a result
socket; a compiled program's executable is a third. Zygote to supervisor when every process of the job is dead: `DONE`.
Template to supervisor on the result socket: one `RESULT` message per test, or one `COMPILE_ERROR`.
"""

import _socket  # without what `socket` adds, which every process of a job would carry
import struct
from collections.abc import Sequence

READY, LACKS = b"ready", b"lacks "

PROGRAM, FUNCTION, FUNCTION_SHARED, LIVECODEBENCH_PROGRAM, LIVECODEBENCH_FUNCTION, NATIVE = range(6)
"""Modes of a job: program per test; function call per test; all function calls in one process; the official
LiveCodeBench checker's ways to run either, all tests in one process; and an executable per test, which comes as a
third descriptor."""

CPU_BACKSTOP = 2
"""Kernel limits on CPU time as a multiple of the limit that decides, for processes whose template is gone."""

STACKS, STACKS_BYTES = b"stack_size", 512 << 20
"""A program that recurses in a thread asks by this name for a stack that it will hardly use, all of which the kernel
counts against the limit on address space. So there is room for it beyond the memory limit, which decides on what is
held."""

JOB_WALL = struct.Struct("<d")
JOB = struct.Struct("<BBBIIIqqddd")
"""Mode, report the first test at once, import packages once for all, tests, bytes of code, bytes of function name,
limits in bytes (address space beyond what the interpreter itself maps, output), and seconds: CPU limit of a process,
CPU limit of a function call, wall-clock cap of a process."""

DONE = struct.Struct("<i")
"""The template's wait status."""

RESULT = struct.Struct("<BiBddqqqI")
"""Kind, wait status, whether a time limit ended it, CPU and wall seconds, peak resident KiB, bytes of standard
output, bytes of standard error, bytes of standard error that follow here."""
KIND_RESULT, KIND_COMPILE_ERROR = 1, 2

INLINE_BYTES = 60_000
"""Output up to this size travels in the message, before the end of standard error; longer output as a descriptor."""
ERROR_TAIL_BYTES = 2_000
MESSAGE_BYTES = RESULT.size + INLINE_BYTES + ERROR_TAIL_BYTES
SHARED_RECORD = struct.Struct("<Bdq")
"""In a shared process, per call: how it ended, its CPU seconds, and the bytes of output that follow."""
CALL_RETURNED, CALL_FAILED, CALL_TOO_LONG = range(3)
BETWEEN_SHARED_INPUTS = "\0"
"""Never part of JSON, so it separates the inputs of a shared process."""


def job_parts(
    how: tuple[int, bool, bool],
    limits: tuple[int, int, float, float, float],
    code: bytes,
    name: bytes,
    inputs: Sequence[bytes],
) -> list[bytes]:
    """A job as it is sent: `how` and `limits` are the first and the last fields of `JOB`."""
    header = JOB.pack(*how, len(inputs), len(code), len(name), *limits)
    return [header, struct.pack(f"<{len(inputs)}Q", *map(len, inputs)), code, name, *inputs]


def receive(control: _socket.socket, most_bytes: int, most_descriptors: int) -> tuple[bytes, list[int]]:
    """A message and the descriptors that came with it."""
    integer = struct.calcsize("i")
    message, ancillary, _, _ = control.recvmsg(most_bytes, _socket.CMSG_SPACE(most_descriptors * integer))
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            count = len(data) // integer
            descriptors += struct.unpack(f"{count}i", data[: count * integer])
    return message, descriptors


def send_with_descriptor(control: _socket.socket, message: bytes, descriptor: int) -> None:
    """Send a message and a descriptor with it."""
    control.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))])
