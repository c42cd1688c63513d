"""The two things that a worker does with a submission: judge it, or only execute it.

The sandbox gets a job without the expected outputs; its raw runs become verdicts here.
"""

import os
import re
import signal
from dataclasses import replace
from typing import Protocol, TypeVar

from reward import compare
from reward.checker import LINES, ProgramChecker
from reward.config import JudgeSettings
from reward.sandbox import protocol
from reward.shared import run_submission
from reward.submission import Submission
from reward.verdict import Execution, Judgement, Run, TestResult, Verdict
from reward.worker import Job, RawRun, Worker
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.problem import Limits

Result = TypeVar("Result", covariant=True)

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


class Task(Protocol[Result]):
    """What a worker thread carries out."""

    submission: Submission
    for_functions: bool
    """Which kind of worker it needs."""

    def carry_out(self, worker: Worker, deadline: float | None) -> Result:
        """Run on `worker`. Raises `InfrastructureError`; may then be called again with a fresh worker."""

    def infrastructure_failure(self, reason: str) -> Result:
        """The result where the program could not be run."""


class JudgementTask:
    """Run a submission's tests and compare.

    Raises `InputError` where an expected output is missing, or where a checker would change what the official
    LiveCodeBench checker says.
    """

    def __init__(self, submission: Submission, settings: JudgeSettings, tier: str, stop_at_first_failure: bool) -> None:
        if None in submission.expected:
            index = submission.expected.index(None)
            raise InputError(f"submission {submission.id!r}: test {index} has no expected output to judge by")
        if submission.checker != LINES and settings.policy == "livecodebench":
            raise InputError(f"submission {submission.id!r} has a checker; the policy `livecodebench` has its own")
        self.submission = submission
        self.for_functions = submission.function_name is not None or settings.policy == "livecodebench"
        self._settings = settings
        self._tier = tier
        self.stop_at_first_failure = stop_at_first_failure

    def carry_out(self, worker: Worker, deadline: float | None) -> Judgement:
        results: list[TestResult] = []
        if isinstance(self.submission.checker, ProgramChecker):
            return self._carry_out_with_program(self.submission.checker, worker, deadline)

        def take(run: RawRun, job: Job) -> bool:
            verdict = self._verdict(run, job, self.submission.expected[len(results)])
            results.append(_result(verdict, run))
            return verdict is Verdict.AC or not self.stop_at_first_failure

        compile_error = run_submission(
            worker, self.submission, self._settings, take, report_first=self.stop_at_first_failure, deadline=deadline
        )
        return self._conclude(results, compile_error)

    def _carry_out_with_program(self, checker: ProgramChecker, worker: Worker, deadline: float | None) -> Judgement:
        """One test after another, each followed by the checker, so that one output is held at a time."""
        results: list[TestResult] = []
        for given, expected in zip(self.submission.inputs, self.submission.expected, strict=True):
            ran = self._run_once(replace(self.submission, inputs=(given,), expected=(None,)), worker, deadline)
            if isinstance(ran, str):
                return self._conclude([], ran)
            run, job = ran
            verdict = _failure(run, job)
            if verdict is None:
                output = run.output.decode("utf-8", "replace")
                accepted = self._ask(checker, checker.question(given, output, expected or ""), worker, deadline)
                verdict = Verdict.AC if accepted else Verdict.WA
            results.append(_result(verdict, run))
            if self.stop_at_first_failure and verdict is not Verdict.AC:
                break
        return self._conclude(results, None)

    def _ask(self, checker: ProgramChecker, question: str, worker: Worker, deadline: float | None) -> bool:
        """Whether the checker accepts. Raises `InfrastructureError` where it does not say."""
        asked = Submission("checker", checker.code, (question,), (None,), None, CHECKER_LIMITS, checker.language)
        ran = self._run_once(asked, worker, deadline)
        if isinstance(ran, str):
            raise InfrastructureError(f"the checker does not compile: {ran}")
        run, job = ran
        answer = run.output.decode("utf-8", "replace").strip()
        failure = _failure(run, job)
        if failure is not None or answer not in ("accept", "refuse"):
            ended = failure or f"said {answer[:100]!r}"
            raise InfrastructureError(f"the checker failed ({ended}): {run.error.decode('utf-8', 'replace')[-500:]}")
        return answer == "accept"

    def _run_once(self, submission: Submission, worker: Worker, deadline: float | None) -> tuple[RawRun, Job] | str:
        """The run of a submission with one input, or why it does not compile."""
        runs: list[tuple[RawRun, Job]] = []

        def take(run: RawRun, job: Job) -> bool:
            runs.append((run, job))
            return True

        compile_error = run_submission(worker, submission, self._settings, take, report_first=True, deadline=deadline)
        return runs[0] if compile_error is None else compile_error

    def _conclude(self, results: list[TestResult], compile_error: str | None) -> Judgement:
        if compile_error is not None:
            return self._judgement(Verdict.CE, (), compile_error)
        failures = (result.verdict for result in results if result.verdict is not Verdict.AC)
        return self._judgement(next(failures, Verdict.AC), tuple(results), "")

    def infrastructure_failure(self, reason: str) -> Judgement:
        return self._judgement(Verdict.IE, (), reason)

    def _verdict(self, run: RawRun, job: Job, expected: str | None) -> Verdict:
        failure = _failure(run, job)
        if failure is not None:
            return failure
        actual = run.output.decode("utf-8", "replace")
        same = SAME.get(job.mode)
        if same is None:
            assert not isinstance(self.submission.checker, ProgramChecker), "programs are asked one output at a time"
            same = self.submission.checker.accepts
        return Verdict.AC if same(actual, expected or "") else Verdict.WA

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


class ExecutionTask:
    """Run a submission on all its inputs and hand back what it gave, as `python3` would give it under every policy."""

    def __init__(self, submission: Submission, settings: JudgeSettings, tier: str) -> None:
        self.submission = submission
        self.for_functions = submission.function_name is not None
        self._settings = settings.model_copy(update={"policy": "faithful"})
        self._tier = tier

    def carry_out(self, worker: Worker, deadline: float | None) -> Execution:
        runs: list[Run] = []

        def take(raw: RawRun, job: Job) -> bool:
            failure = _failure(raw, job)
            output = raw.output.decode("utf-8", "replace")
            runs.append(
                Run(
                    status=failure.value if failure else "OK",
                    output=None if failure else output,
                    cpu_seconds=raw.cpu_seconds,
                    wall_seconds=raw.wall_seconds,
                    memory_mib=raw.resident_kib / 1024,
                    error=raw.error.decode("utf-8", "replace"),
                    stdout=output if job.mode in (protocol.PROGRAM, protocol.NATIVE) else "",
                    return_code=_return_code(raw.status),
                )
            )
            return True

        compile_error = run_submission(
            worker, self.submission, self._settings, take, report_first=False, deadline=deadline
        )
        if compile_error is not None:
            return self._all(Verdict.CE, compile_error)
        return Execution(self.submission.id, tuple(runs), self._tier)

    def infrastructure_failure(self, reason: str) -> Execution:
        return self._all(Verdict.IE, reason)

    def _all(self, status: Verdict, reason: str) -> Execution:
        run = Run(status=status.value, output=None, error=reason)
        return Execution(self.submission.id, (run,) * len(self.submission.inputs), self._tier)


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


def _result(verdict: Verdict, run: RawRun) -> TestResult:
    return TestResult(verdict, run.cpu_seconds, run.wall_seconds, run.resident_kib / 1024)


def _return_code(status: int) -> int | None:
    """As in `subprocess`, of a wait status that a template sent; None where no process ends like that."""
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
