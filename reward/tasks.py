"""The two things that a worker does with a submission: judge it, or only execute it.

The sandbox gets a job without the expected outputs; its raw runs become verdicts here.

A test has a process of its own, or all tests of a function problem share one. In a shared process the program can see
its earlier calls and could misreport the CPU time of each (never the sum, which the kernel limits). A fresh process
takes the tests after one in which the process died, and goes on where the results of earlier tests have used up the
output limit, which is that of a single test.
"""

import json
import math
import os
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Generic, TypeVar

from reward import compare
from reward.checker import LINES, ProgramChecker
from reward.compiler import compile_program, compiled_languages
from reward.config import JudgeSettings
from reward.sandbox import protocol
from reward.submission import Submission
from reward.verdict import Execution, Judgement, Run, TestResult, Verdict
from reward.worker import CompileError, Job, RawRun, Worker
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.problem import Limits

Result = TypeVar("Result")

MIB = 1 << 20
Runs = Generator[tuple[RawRun, Job], None, None]
FAILED_CALL = 1 << 8
"""The wait status of a process that exits with status 1."""
LIVECODEBENCH_EXTRA_PER_TEST, LIVECODEBENCH_EXTRA = 1.0, 5.0
"""Seconds that the official checker adds to a sample's wall-clock limit."""

CHECKER_LIMITS = Limits(seconds=10.0, memory_mib=1024)

NEAR_MEMORY_LIMIT = 0.9
INTERPRETER_BYTES = 64 << 20
"""Resident memory that a process may have beyond the program's own."""
MEMORY_ERROR = re.compile(
    rb"(?:^|\n)(?:[\w.]*\._?Array)?MemoryError\b[^\n]*\s*$"
    rb"|^terminate called after throwing an instance of 'std::bad_(?:alloc|array_new_length)'"
)
RUNAWAY_RECURSION = b"[Previous line repeated "

SAME = {
    protocol.FUNCTION: compare.values_match,
    protocol.FUNCTION_SHARED: compare.values_match,
    protocol.LIVECODEBENCH_PROGRAM: compare.officially_same_output,
    protocol.LIVECODEBENCH_FUNCTION: compare.officially_same_value,
}
"""By a job's mode: what compares outputs, where the submission's checker does not."""


class Task(ABC, Generic[Result]):
    """What a worker thread carries out; `for_functions` says which kind of worker it needs."""

    def __init__(self, submission: Submission, settings: JudgeSettings, tier: str) -> None:
        self.submission = submission
        self.for_functions = submission.function_name is not None or settings.policy == "livecodebench"
        self._settings = settings
        self._tier = tier

    @abstractmethod
    def carry_out(self, worker: Worker, deadline: float | None) -> Result:
        """Run on `worker`. Raises `InfrastructureError`; may then be called again with a fresh worker."""

    @abstractmethod
    def infrastructure_failure(self, reason: str) -> Result:
        """The result where the program could not be run."""


class JudgementTask(Task[Judgement]):
    """Run a submission's tests and compare.

    Raises `InputError` where an expected output is missing, or where a checker would change what the official
    LiveCodeBench checker says.
    """

    def __init__(self, submission: Submission, settings: JudgeSettings, tier: str, stop_at_first_failure: bool) -> None:
        super().__init__(submission, settings, tier)
        if None in submission.expected:
            index = submission.expected.index(None)
            raise InputError(f"submission {submission.id!r}: test {index} has no expected output to judge by")
        if submission.checker != LINES and settings.policy == "livecodebench":
            raise InputError(f"submission {submission.id!r} has a checker; the policy `livecodebench` has its own")
        self.stop_at_first_failure = stop_at_first_failure

    def carry_out(self, worker: Worker, deadline: float | None) -> Judgement:
        results: list[TestResult] = []
        try:
            with closing(self._results(worker, deadline)) as found:
                for result in found:
                    results.append(result)
                    if self.stop_at_first_failure and result.verdict is not Verdict.AC:
                        break
        except CompileError as error:
            return self._judgement(Verdict.CE, (), str(error))
        failures = (result.verdict for result in results if result.verdict is not Verdict.AC)
        return self._judgement(next(failures, Verdict.AC), tuple(results), "")

    def infrastructure_failure(self, reason: str) -> Judgement:
        return self._judgement(Verdict.IE, (), reason)

    def _results(self, worker: Worker, deadline: float | None) -> Generator[TestResult, None, None]:
        """Each test's result. One output is held at a time, and its text no longer than it is compared."""
        checker = self.submission.checker
        if isinstance(checker, ProgramChecker):
            for given, expected in zip(self.submission.inputs, self.submission.expected, strict=True):
                alone = replace(self.submission, inputs=(given,), expected=(None,))
                ((run, job),) = run_submission(worker, alone, self._settings, True, deadline)
                verdict = _failure(run, job) or self._ask(
                    checker, checker.question(given, _text(run.output), expected or ""), worker, deadline
                )
                yield _result(verdict, run)
            return
        first = self.stop_at_first_failure
        with closing(run_submission(worker, self.submission, self._settings, first, deadline)) as ended:
            for (run, job), expected in zip(ended, self.submission.expected, strict=False):
                same = SAME.get(job.mode, checker.accepts)
                verdict = _failure(run, job) or _verdict(same(_text(run.output), expected or ""))
                yield _result(verdict, run)

    def _ask(self, checker: ProgramChecker, question: str, worker: Worker, deadline: float | None) -> Verdict:
        """What the checker says. Raises `InfrastructureError` where it does not say."""
        asked = Submission("checker", checker.code, (question,), (None,), None, CHECKER_LIMITS, checker.language)
        (run,) = ExecutionTask(asked, self._settings, self._tier).carry_out(worker, deadline).runs
        answer = run.stdout.strip()
        if run.status != "OK" or answer not in ("accept", "refuse"):
            ended = f"said {answer[:100]!r}" if run.status == "OK" else run.status
            raise InfrastructureError(f"the checker failed ({ended}): {run.error[-500:]}")
        return _verdict(answer == "accept")

    def _judgement(self, verdict: Verdict, results: tuple[TestResult, ...], message: str) -> Judgement:
        return Judgement(
            id=self.submission.id,
            verdict=verdict,
            passed=sum(result.verdict is Verdict.AC for result in results),
            total=len(self.submission.inputs),
            tests=results,
            tier=self._tier,
            policy=self._settings.policy,
            message=message,
        )


class ExecutionTask(Task[Execution]):
    """Run a submission on all its inputs and hand back what it gave, as `python3` would give it under every policy."""

    def __init__(self, submission: Submission, settings: JudgeSettings, tier: str) -> None:
        super().__init__(submission, settings.model_copy(update={"policy": "faithful"}), tier)

    def carry_out(self, worker: Worker, deadline: float | None) -> Execution:
        try:
            with closing(run_submission(worker, self.submission, self._settings, False, deadline)) as ended:
                runs = tuple(_run(raw, job) for raw, job in ended)
        except CompileError as error:
            return self._all(Verdict.CE, str(error))
        return Execution(self.submission.id, runs, self._tier)

    def infrastructure_failure(self, reason: str) -> Execution:
        return self._all(Verdict.IE, reason)

    def _all(self, status: Verdict, reason: str) -> Execution:
        run = Run(status=status.value, output=None, error=reason)
        return Execution(self.submission.id, (run,) * len(self.submission.inputs), self._tier)


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


def failure_of(run: RawRun, job: Job) -> Verdict | None:
    """The verdict on a test whose process did not end well, or None where its output decides.

    The rules, in order:
    TLE: ended by the wall-clock cap, or more CPU used than the limit.
    OLE: output or standard error reached its cap.
    MLE: more memory held than the limit and an interpreter explain (see `protocol.STACKS`); ended badly with an
    uncaught MemoryError that is not runaway recursion; or killed near its memory limit.
    IE: killed by a SIGKILL that none of our limits explains, such as the kernel's out-of-memory killer's; a program
    cannot signal itself.
    RE: any other bad end, also a function that never returned.
    """
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


def _failure(run: RawRun, job: Job) -> Verdict | None:
    """As `failure_of`. Raises `InfrastructureError` where that says IE, so that the submission is run once more."""
    failure = failure_of(run, job)
    if failure is Verdict.IE:
        raise InfrastructureError("a test's process was killed from outside, as by a machine that is out of memory")
    return failure


def _verdict(is_right: bool) -> Verdict:
    return Verdict.AC if is_right else Verdict.WA


def _result(verdict: Verdict, run: RawRun) -> TestResult:
    return TestResult(verdict, run.cpu_seconds, run.wall_seconds, run.resident_kib / 1024)


def _run(raw: RawRun, job: Job) -> Run:
    failure, output = _failure(raw, job), _text(raw.output)
    return Run(
        status=failure.value if failure else "OK",
        output=None if failure else output,
        cpu_seconds=raw.cpu_seconds,
        wall_seconds=raw.wall_seconds,
        memory_mib=raw.resident_kib / 1024,
        error=_text(raw.error),
        stdout=output if job.mode in (protocol.PROGRAM, protocol.NATIVE) else "",
        return_code=_return_code(raw.status),
    )


def _text(written: bytes) -> str:
    return written.decode("utf-8", "replace")


def _return_code(status: int) -> int | None:
    """As in `subprocess`, of a wait status that a template sent; None where no process ends like that."""
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
