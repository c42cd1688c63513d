"""Running a submission on a worker: a process per test, or one process for all tests of a function problem.

In a shared process the program can see its earlier calls and could misreport the CPU time of each (never the sum,
which the kernel limits). A process that dies in one test is followed by a fresh one for the tests after it.
"""

from collections.abc import Callable
from dataclasses import replace

from reward.config import JudgeSettings
from reward.sandbox import protocol
from reward.submission import Submission
from reward.worker import Job, RawRun, Worker

MIB = 1 << 20
FAILED_CALL = 1 << 8
"""The wait status of a process that exits with status 1."""


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
        failed, seconds, size = record.unpack_from(process.output, at)
        if not 0 <= size <= len(process.output) - at - record.size:
            break
        output = process.output[at + record.size : at + record.size + size]
        at += record.size + size
        used += seconds
        status = FAILED_CALL if failed else 0
        runs.append(replace(process, status=status, late=False, cpu_seconds=seconds, output=output, output_bytes=size))
    if len(runs) < calls:
        rest = max(0.0, process.cpu_seconds - used)
        unfinished = replace(process, cpu_seconds=rest, output=b"", status=process.status or FAILED_CALL)
        runs.append(unfinished)
    return runs
