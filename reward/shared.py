"""Running a submission on a worker: a process per test, or one process for all tests of a function problem.

In a shared process the program can see its earlier calls and could misreport the CPU time of each (never the sum,
which the kernel limits). A process that dies in one test is followed by a fresh one for the tests after it.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from reward.compiler import compile_program
from reward.config import JudgeSettings
from reward.language import compiled_languages
from reward.sandbox import protocol
from reward.submission import Submission
from reward.worker import Job, RawRun, Worker

MIB = 1 << 20
FAILED_CALL = 1 << 8
"""The wait status of a process that exits with status 1."""
LIVECODEBENCH_EXTRA_PER_TEST, LIVECODEBENCH_EXTRA = 1.0, 5.0
"""Seconds that the official checker adds to a sample's wall-clock limit."""


def run_submission(
    worker: Worker,
    submission: Submission,
    settings: JudgeSettings,
    take: Callable[[RawRun, Job], bool],
    *,
    report_first: bool,
    deadline: float | None,
) -> str | None:
    """Give `take` each test's run, in order, until it says False. Returns why the program does not compile, or None."""
    job = make_job(submission, settings, report_first)
    if (language := compiled_languages().get(submission.language)) is not None:
        program = compile_program(language, submission.code, worker.tier, worker.interruption, deadline)
        if program.error is not None:
            return program.error
        native = replace(job, mode=protocol.NATIVE, code="", executable=program.descriptor)
        return worker.run(native, lambda run: take(run, native), deadline)
    if settings.policy == "livecodebench":
        return _run_as_livecodebench(worker, job, take, deadline)
    if not submission.share_process:
        return worker.run(job, lambda run: take(run, job), deadline)
    at = 0
    while at < len(submission.inputs):
        left = submission.inputs[at:]
        processes: list[RawRun] = []
        compile_error = worker.run(_shared_job(job, left), _appender(processes), deadline)
        if compile_error is not None:
            return compile_error
        runs = _split(processes[0], len(left))
        if not all(take(run, job) for run in runs):
            return None
        at += len(runs)
    return None


def _run_as_livecodebench(
    worker: Worker, job: Job, take: Callable[[RawRun, Job], bool], deadline: float | None
) -> str | None:
    """All tests in one process, as the official checker runs them; where it dies, the tests after that do not run.

    Where the caller stops at the first failure, so does the process at the first error or alarm, as the official one;
    not at the first wrong answer, of which it does not know.
    """
    calls = len(job.inputs)
    whole = replace(
        job,
        mode=protocol.LIVECODEBENCH_FUNCTION if job.function_name else protocol.LIVECODEBENCH_PROGRAM,
        inputs=(json.dumps({"inputs": job.inputs, "stop_at_failure": job.report_first}),),
        wall=(job.seconds + LIVECODEBENCH_EXTRA_PER_TEST) * calls + LIVECODEBENCH_EXTRA,
        calls=calls,
    )
    processes: list[RawRun] = []
    compile_error = worker.run(whole, _appender(processes), deadline)
    if compile_error is None:
        all(take(run, whole) for run in _split(processes[0], calls))
    return compile_error


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


def _appender(runs: list[RawRun]) -> Callable[[RawRun], bool]:
    def take(run: RawRun) -> bool:
        runs.append(run)
        return True

    return take


def _split(process: RawRun, calls: int) -> list[RawRun]:
    """One run per finished call, and one for the call in which the process ended too early, if it did."""
    runs: list[RawRun] = []
    at, used = 0, 0.0
    record = protocol.SHARED_RECORD
    while len(runs) < calls and at + record.size <= len(process.output):
        outcome, seconds, size = record.unpack_from(process.output, at)
        if not 0 <= size <= len(process.output) - at - record.size:
            break
        output = process.output[at + record.size : at + record.size + size]
        at += record.size + size
        used += seconds
        runs.append(
            replace(
                process,
                status=0 if outcome == protocol.CALL_RETURNED else FAILED_CALL,
                late=outcome == protocol.CALL_TOO_LONG,
                cpu_seconds=seconds,
                output=output,
                output_bytes=size,
            )
        )
    if len(runs) < calls:
        rest = max(0.0, process.cpu_seconds - used)
        unfinished = replace(process, cpu_seconds=rest, output=b"", status=process.status or FAILED_CALL)
        runs.append(unfinished)
    return runs
