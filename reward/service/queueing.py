"""The bounded queue before the judge: what it has no room for is refused at once, and no request starves another.

Room is counted in tests and in bytes of requests. A request hands the judge a few submissions at a time and the next
ones as results come back, so a small request waits for a few programs of a large one, never for all of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from reward.config import ServiceSettings
from reward.executor import Executor
from reward.submission import Submission
from reward.verdict import Execution, Judgement, Run, Verdict

Result = TypeVar("Result")
MIB = 1 << 20
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
"""Upper bounds, in seconds, by which metrics count how long requests took."""
RETRY_AFTER = {"Retry-After": "2"}
"""Seconds after which a refused client may come back: longer than most programs run."""
IN_FLIGHT_PER_WORKER = 2
"""Enough that a worker never waits for the event loop, few enough that requests take turns."""


class Metrics:
    """What a service counts, in Prometheus' text format. Each has a registry of its own, so that two do not mix."""

    def __init__(self, workers: int, queue_tests: int) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "requests", "Requests answered, by endpoint and HTTP status.", "endpoint", "status"
        )
        self.seconds = Histogram(
            "xcoder_judge_request_seconds",
            "Time from a request to its answer.",
            ["endpoint"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.tests = self._counter("tests", "Tests run, by verdict; OK where nothing was compared.", "verdict")
        self.test_cpu_seconds = self._counter("test_cpu_seconds", "CPU time of the programs.")
        self.disconnects = self._counter("disconnects", "Requests whose client left before the answer.", "endpoint")
        self.gauge("queue_tests_limit", "Most tests that may wait or run.").set(queue_tests)
        self.gauge("workers", "Sandbox workers.").set(workers)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"xcoder_judge_{name}", description, labels, registry=self.registry)

    def gauge(self, name: str, description: str) -> Gauge:
        """A number that rises and falls."""
        return Gauge(f"xcoder_judge_{name}", description, registry=self.registry)


class Queue:
    """Runs submissions on a judge for many requests at once. For one event loop."""

    def __init__(self, judge: Executor, settings: ServiceSettings, metrics: Metrics) -> None:
        self.judge = judge
        self._settings = settings
        self._metrics = metrics
        self.tests = 0
        self.bytes = 0
        metrics.gauge("queue_tests", "Tests that wait or run.").set_function(lambda: self.tests)
        metrics.gauge("queue_bytes", "Bodies of requests in progress.").set_function(lambda: self.bytes)

    @contextmanager
    def room_for_bytes(self, size: int) -> Iterator[None]:
        """Hold room for a request's body. Raises `HTTPException`."""
        if self.bytes + size > self._settings.queue_mib * MIB:
            message = f"requests of {self.bytes} bytes are in progress; at most {self._settings.queue_mib} MiB"
            raise HTTPException(429, message, RETRY_AFTER)
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    async def judge_all(
        self, submissions: Sequence[Submission], *, stop_at_first_failure: bool, deadline_seconds: float
    ) -> list[Judgement]:
        """Judge all of `submissions`, in order. What is not finished in time is IE. Raises `HTTPException`."""

        async def judge(submission: Submission, seconds: float) -> Judgement:
            (judgement,) = await self.judge.judge_async(
                [submission], stop_at_first_failure=stop_at_first_failure, deadline_seconds=seconds
            )
            for test in judgement.tests:
                self._count(test.verdict.value, test.cpu_seconds)
            if not judgement.tests:
                self._count(judgement.verdict.value, 0.0)
            return judgement

        return await self._run(submissions, judge, IN_FLIGHT_PER_WORKER * self.judge.workers, deadline_seconds)

    async def execute_all(
        self, submissions: Sequence[Submission], take: Callable[[Execution], Result], *, deadline_seconds: float
    ) -> list[Result]:
        """Execute all of `submissions` as `judge_all` judges, and give what `take` makes of each, in order.

        What programs print is held for as many submissions as there are workers: `take` should keep little of it.
        """

        async def execute(submission: Submission, seconds: float) -> Result:
            (execution,) = await self.judge.execute_async([submission], deadline_seconds=seconds)
            for run in execution.runs:
                self._count(run.status, run.cpu_seconds)
            return take(execution)

        return await self._run(submissions, execute, self.judge.workers, deadline_seconds)

    async def execute_one(self, submission: Submission, *, deadline_seconds: float) -> Run:
        """What a submission with one input gives. Raises `HTTPException` also where its turn did not come in time."""
        deadline = time.monotonic() + deadline_seconds
        (run,) = await self.execute_all([submission], lambda done: done.runs[0], deadline_seconds=deadline_seconds)
        if run.status == Verdict.IE and time.monotonic() >= deadline:
            raise HTTPException(504, f"not run within {deadline_seconds:g} s: {run.error}", RETRY_AFTER)
        return run

    async def _run(
        self,
        submissions: Sequence[Submission],
        run: Callable[[Submission, float], Awaitable[Result]],
        in_flight: int,
        deadline_seconds: float,
    ) -> list[Result]:
        deadline = time.monotonic() + deadline_seconds
        results: dict[int, Result] = {}
        left = iter(enumerate(submissions))

        async def take_turns() -> None:
            for index, submission in left:
                results[index] = await run(submission, deadline - time.monotonic())

        with self._room_for_tests(sum(len(submission.inputs) for submission in submissions)):
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(in_flight, len(submissions))):
                        group.create_task(take_turns())
            except ExceptionGroup as errors:  # each of them says the same: the judge is closed
                raise errors.exceptions[0] from errors
        return [results[index] for index in range(len(submissions))]

    @contextmanager
    def _room_for_tests(self, count: int) -> Iterator[None]:
        most = self._settings.queue_tests
        if count > most:
            raise HTTPException(413, f"{count} tests in one request; the queue takes {most}")
        if self.tests + count > most:
            message = f"{self.tests} tests wait or run, {count} more were asked for; the queue takes {most}"
            raise HTTPException(429, message, RETRY_AFTER)
        self.tests += count
        try:
            yield
        finally:
            self.tests -= count

    def _count(self, verdict: str, cpu_seconds: float) -> None:
        self._metrics.tests.labels(verdict).inc()
        self._metrics.test_cpu_seconds.inc(cpu_seconds)
