"""code-judge's endpoints, as its own clients and those of X-Coder's and rStar's trainers speak them.

A submission is one program with one input; a batch is judged in order. What differs from the original: the time limit
bounds CPU time, outputs are compared as the judge compares them (line by line, decimals by value), `math` is
refused, and a full queue is answered with status 429.
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import FastAPI, Response
from pydantic import BaseModel, FailFast, Field

from reward.compare import outputs_match
from reward.config import ServiceSettings
from reward.service.answers import json_answer
from reward.service.queueing import Queue
from reward.submission import Submission
from reward.verdict import Execution, Judgement, TestResult, Verdict
from xcoder_core.problem import Limits

LIMITS = Limits(seconds=10.0, memory_mib=512)
"""The original's 10 seconds; more than its 384 MiB, since here numpy counts in."""
TEXT_CHARACTERS = 1000
"""Of standard output and standard error each, as in the original."""
TESTS_PER_PROGRAM = 16
"""Few enough that the tests of one program still spread over the workers."""
RAN_WELL = {"OK", "AC", "WA"}
Reason = Literal["", "internal_error", "worker_timeout", "queue_timeout"]


class SubmissionBody(BaseModel):
    """A program and its input. Without `expected_output` it succeeds where it ends well."""

    sub_id: str | None = None
    type: Literal["python", "cpp"]
    solution: str
    input: str | None = None
    expected_output: str | None = None


class BatchBody(BaseModel):
    """Several submissions."""

    sub_id: str | None = None
    type: Literal["batch"] = "batch"
    submissions: Annotated[list[SubmissionBody], FailFast()] = Field(min_length=1)


@dataclass(frozen=True)
class JudgeResult:
    """`cost` is wall-clock seconds. Nothing is known about a program whose `reason` is internal_error (a fault of
    ours) or queue_timeout (its turn did not come before the deadline: send it again)."""

    sub_id: str
    success: bool
    run_success: bool
    cost: float
    reason: Reason = ""


@dataclass(frozen=True)
class RunResult(JudgeResult):
    """The same with what the program wrote."""

    stdout: str | None = None
    stderr: str | None = None


Result = TypeVar("Result", JudgeResult, RunResult)


@dataclass(frozen=True)
class BatchResult(Generic[Result]):
    """Results in the order of the submissions."""

    sub_id: str
    results: list[Result]


def add_code_judge(app: FastAPI, queue: Queue, settings: ServiceSettings) -> None:
    """Add `/judge` and `/run`, each alone, with `/batch` and with `/long-batch`, and `/ping` and `/status`."""

    @app.get("/ping", tags=["code-judge"])
    async def ping() -> str:
        """Answer "pong"."""
        return "pong"

    @app.get("/status", tags=["code-judge"])
    async def status() -> dict[str, int]:
        """Tests that wait or run, and workers."""
        return {"queue": queue.tests, "num_workers": queue.judge.workers}

    @app.post("/judge", response_model=JudgeResult, tags=["code-judge"])
    async def judge(body: SubmissionBody) -> Response:
        """Judge one program on one input."""
        return json_answer((await _judge(queue, [body], settings.deadline_seconds))[0])

    @app.post("/run", response_model=RunResult, tags=["code-judge"])
    async def run(body: SubmissionBody) -> Response:
        """The same, with what the program wrote."""
        return json_answer((await _run(queue, [body], settings.deadline_seconds))[0])

    def add_batch(path: str, deadline_seconds: float) -> None:
        @app.post(f"/judge/{path}", response_model=BatchResult[JudgeResult], tags=["code-judge"])
        async def judge_batch(body: BatchBody) -> Response:
            """Judge many programs."""
            return _batch_answer(body, await _judge(queue, body.submissions, deadline_seconds))

        @app.post(f"/run/{path}", response_model=BatchResult[RunResult], tags=["code-judge"])
        async def run_batch(body: BatchBody) -> Response:
            """The same, with what the programs wrote."""
            return _batch_answer(body, await _run(queue, body.submissions, deadline_seconds))

    add_batch("batch", settings.deadline_seconds)
    add_batch("long-batch", settings.long_deadline_seconds)


def _batch_answer(body: BatchBody, results: list[Result]) -> Response:
    return json_answer(BatchResult(body.sub_id or str(uuid.uuid4()), results))


async def _judge(queue: Queue, bodies: list[SubmissionBody], deadline_seconds: float) -> list[JudgeResult]:
    """Results without texts, so that a batch needs memory for its inputs only."""
    if any(body.expected_output is None for body in bodies):  # nothing to judge by
        ran = await _run(queue, bodies, deadline_seconds)
        return [JudgeResult(run.sub_id, run.success, run.run_success, run.cost, run.reason) for run in ran]
    deadline = time.monotonic() + deadline_seconds
    groups = list(_by_program(bodies))
    judgements = await queue.judge_all(
        [_submission(group, place) for place, group in enumerate(groups)],
        stop_at_first_failure=False,
        deadline_seconds=deadline_seconds,
    )
    late = time.monotonic() >= deadline
    return [
        _result(body, test.verdict.value, test.wall_seconds, test.verdict is Verdict.AC, late)
        for group, judgement in zip(groups, judgements, strict=True)
        for body, test in zip(group, _tests(judgement), strict=True)
    ]


async def _run(queue: Queue, bodies: list[SubmissionBody], deadline_seconds: float) -> list[RunResult]:
    deadline = time.monotonic() + deadline_seconds

    def take(execution: Execution) -> RunResult:
        """Compare while the whole output is there, and keep what is answered."""
        (run,), body = execution.runs, bodies[int(execution.id)]
        matches = run.status == "OK" and outputs_match(run.stdout, body.expected_output or "")
        result = _result(body, run.status, run.wall_seconds, matches, time.monotonic() >= deadline)
        return RunResult(**vars(result), stdout=run.stdout[:TEXT_CHARACTERS], stderr=run.error[-TEXT_CHARACTERS:])

    submissions = [_submission([body], place) for place, body in enumerate(bodies)]
    return await queue.execute_all(submissions, take, deadline_seconds=deadline_seconds)


def _by_program(bodies: list[SubmissionBody]) -> Iterator[list[SubmissionBody]]:
    """Neighbours with the same program: trainers send one submission per test, and it is compiled once for many."""
    for _, same in groupby(bodies, lambda body: (body.type, body.solution)):
        while group := list(islice(same, TESTS_PER_PROGRAM)):
            yield group


def _submission(group: list[SubmissionBody], place: int) -> Submission:
    return Submission(
        id=str(place),
        code=group[0].solution,
        inputs=tuple(body.input or "" for body in group),
        expected=tuple(body.expected_output or "" for body in group),
        limits=LIMITS,
        language=group[0].type,
    )


def _tests(judgement: Judgement) -> list[TestResult]:
    """One result per test, also where none ran: CE and IE are those of each."""
    return list(judgement.tests) or [TestResult(judgement.verdict)] * judgement.total


def _result(body: SubmissionBody, status: str, seconds: float, matches: bool, late: bool) -> JudgeResult:
    ran_well = status in RAN_WELL
    reason: Reason = ""
    if status == Verdict.IE:
        reason = "queue_timeout" if late else "internal_error"
    elif status == Verdict.TLE:
        reason = "worker_timeout"
    is_success = ran_well and (matches or body.expected_output is None)
    return JudgeResult(body.sub_id or str(uuid.uuid4()), is_success, ran_well, seconds, reason)
