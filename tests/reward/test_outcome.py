"""Which verdict the end of a process gets, rule by rule, in the order of the rules."""

import signal
from dataclasses import replace

import pytest

from reward.sandbox import protocol
from reward.tasks import failure_of
from reward.verdict import Verdict
from reward.worker import Job, RawRun

MIB = 1 << 20
JOB = Job(protocol.PROGRAM, "", "", ("",), 1.0, 3.0, 64 * MIB, MIB, False)
WELL = RawRun(0, False, 0.5, 0.5, 10_000, b"7\n", 2, 0, b"")
EXIT_1, KILLED, SEGFAULT = 1 << 8, int(signal.SIGKILL), int(signal.SIGSEGV)
OUT_OF_MEMORY = b"Traceback (most recent call last):\nMemoryError\n"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, None),
        ({"cpu_seconds": 1.01}, Verdict.TLE),  # it ended well, only too late to be stopped
        ({"wall_seconds": 2.9}, None),
        ({"late": True, "status": KILLED}, Verdict.TLE),
        ({"late": True, "output_bytes": MIB}, Verdict.TLE),
        ({"status": int(signal.SIGPROF)}, Verdict.TLE),
        ({"output_bytes": MIB}, Verdict.OLE),
        ({"output_bytes": MIB - 1}, None),
        ({"error_bytes": MIB}, Verdict.OLE),
        ({"output_bytes": MIB, "status": EXIT_1, "error": OUT_OF_MEMORY}, Verdict.OLE),
        ({"status": EXIT_1, "error": OUT_OF_MEMORY}, Verdict.MLE),
        ({"status": EXIT_1, "error": b"MemoryError: std::bad_alloc\n"}, Verdict.MLE),
        ({"status": EXIT_1, "error": b"[Previous line repeated 9 more times]\n" + OUT_OF_MEMORY}, Verdict.RE),
        ({"status": 0, "error": OUT_OF_MEMORY}, None),  # caught, and printed
        ({"status": KILLED, "resident_kib": 60 << 10}, Verdict.MLE),
        ({"status": KILLED}, Verdict.IE),
        ({"resident_kib": 130 << 10}, Verdict.MLE),  # in the room for a thread's stack
        ({"resident_kib": 120 << 10}, None),  # numpy's part of it is the interpreter's
        ({"status": EXIT_1}, Verdict.RE),
        ({"status": SEGFAULT, "resident_kib": 60 << 10}, Verdict.RE),
    ],
)
def test_verdict_on_the_end_of_a_process(change: dict[str, object], verdict: Verdict | None) -> None:
    assert failure_of(replace(WELL, **change), JOB) is verdict  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [protocol.FUNCTION, protocol.FUNCTION_SHARED])
def test_function_that_returns_nothing_at_all_has_failed(mode: int) -> None:
    assert failure_of(replace(WELL, output=b"", output_bytes=0), replace(JOB, mode=mode)) is Verdict.RE
    assert failure_of(replace(WELL, output=b"", output_bytes=0), JOB) is None
