"""Running a submission on a worker: a process per test, or one process for all tests of a function problem.

In a shared process the program can see its earlier calls and could misreport the CPU time of each (never the sum,
which the kernel limits). A fresh process takes the tests after one in which the process died, and goes on where the
results of earlier tests have used up the output limit, which is that of a single test.
"""

import json
import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace

from reward.compiler import compile_program
from reward.config import JudgeSettings
from reward.language import compiled_languages
from reward.sandbox import protocol
from reward.submission import Submission
from reward.worker import CompileError, Job, RawRun, Worker

MIB = 1 << 20
Runs = Generator[tuple[RawRun, Job], None, None]
FAILED_CALL = 1 << 8
"""The wait status of a process that exits with status 1."""
LIVECODEBENCH_EXTRA_PER_TEST, LIVECODEBENCH_EXTRA = 1.0, 5.0
"""Seconds that the official checker adds to a sample's wall-clock limit."""


def run_submission(
    worker: Worker, submission: Submission, settings: JudgeSettings, report_first: bool, deadline: float | None
) -> Runs:
    """Each test's run with its job, in order, as `Worker.run` yields it. Raises as that does.

    `report_first` has the first run reported at once, for a caller that may drop the others.
    """
    job = make_job(submission, settings, report_first)
    if (language := compiled_languages().get(submission.language)) is not None:
        program = compile_program(language, submission.code, worker.tier, worker.interruption, deadline)
        if program.error is not None:
            raise CompileError(program.error)
        job = replace(job, mode=protocol.NATIVE, code="", executable=program.descriptor)
    elif settings.policy == "livecodebench":
        yield from _run_in_one_process(worker, job, _official_job, deadline)
        return
    elif submission.share_process:
        yield from _run_in_one_process(worker, job, _shared_job, deadline)
        return
    with closing(worker.run(job, deadline)) as runs:
        for run in runs:
            yield run, job


def _run_in_one_process(
    worker: Worker, job: Job, job_of_all: Callable[[Job, tuple[str, ...]], Job], deadline: float | None
) -> Runs:
    """Run all tests in one process. Where a shared one dies, a fresh one goes on; the official checker's does not."""
    at = 0
    while at < len(job.inputs):
        combined = job_of_all(job, job.inputs[at:])
        (process,) = worker.run(combined, deadline)
        finished, unfinished = _split(process, len(job.inputs) - at, job.output)
        runs = finished if unfinished is None else [*finished, unfinished]
        for run in runs:
            yield run, combined
        if unfinished is not None and combined.mode != protocol.FUNCTION_SHARED:
            return
        at += len(runs)


def make_job(submission: Submission, settings: JudgeSettings, report_first: bool) -> Job:
    """What a zygote gets to know of a submission: never its expected outputs."""
    seconds = submission.limits.seconds
    return Job(
        mode=protocol.PROGRAM if submission.function_name is None else protocol.FUNCTION,
        code=submission.code,
        function_name=submission.function_name or "",
        inputs=submission.inputs,
        seconds=seconds,
        wall=seconds * settings.wall_factor + settings.wall_extra_seconds,
        memory=submission.limits.memory_mib * MIB,
        output=settings.output_mib * MIB,
        report_first=report_first,
    )


def _shared_job(job: Job, inputs: tuple[str, ...]) -> Job:
    return replace(
        job,
        mode=protocol.FUNCTION_SHARED,
        inputs=(protocol.BETWEEN_SHARED_INPUTS.join(inputs),),
        wall=job.wall * len(inputs),
        calls=len(inputs),
    )


def _official_job(job: Job, inputs: tuple[str, ...]) -> Job:
    """All tests in one process, as the official checker runs them.

    Where the caller stops at the first failure, so does the process at the first error or alarm, as the official one;
    not at the first wrong answer, of which it does not know.
    """
    return replace(
        job,
        mode=protocol.LIVECODEBENCH_FUNCTION if job.function_name else protocol.LIVECODEBENCH_PROGRAM,
        inputs=(json.dumps({"inputs": inputs, "stop_at_failure": job.report_first}),),
        wall=(job.seconds + LIVECODEBENCH_EXTRA_PER_TEST) * len(inputs) + LIVECODEBENCH_EXTRA,
        calls=len(inputs),
    )


def _split(process: RawRun, calls: int, most_bytes: int) -> tuple[list[RawRun], RawRun | None]:
    """One run per finished call, and one for the call in which the process ended too early, if it did.

    Where there are fewer of them than calls, the next call is for a fresh process: this one may write `most_bytes` to
    its results and to standard error, and earlier calls took that up.
    """
    finished: list[RawRun] = []
    at, used = 0, 0.0
    is_full = max(process.output_bytes, process.error_bytes) >= most_bytes
    record = protocol.SHARED_RECORD
    while len(finished) < calls and at + record.size <= len(process.output):
        outcome, seconds, size = record.unpack_from(process.output, at)
        if not (0 <= size <= len(process.output) - at - record.size and 0 <= seconds < math.inf):
            break
        returned = outcome == protocol.CALL_RETURNED
        if is_full and finished and not returned:
            return finished, None
        output = process.output[at + record.size : at + record.size + size]
        at += record.size + size
        used += seconds
        finished.append(
            replace(
                process,
                status=0 if returned else FAILED_CALL,
                late=outcome == protocol.CALL_TOO_LONG,
                cpu_seconds=seconds,
                output=output,
                output_bytes=size,
                error_bytes=0 if returned else process.error_bytes,  # of the calls before it, too
            )
        )
    if len(finished) == calls or is_full and finished:
        return finished, None
    rest = max(0.0, process.cpu_seconds - used)
    return finished, replace(process, cpu_seconds=rest, output=b"", status=process.status or FAILED_CALL)
