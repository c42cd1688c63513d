"""What every judge offers, wherever its workers are: orders go in, verdicts come out in the order of submissions.

`judge.Judge` has its workers on this machine, `ray_judge.RayJudge` on the nodes of a Ray cluster.
"""

import asyncio
import queue
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from reward.config import JudgeSettings
from reward.submission import Submission
from reward.tasks import MIB, ExecutionTask, JudgementTask, Task
from reward.verdict import Execution, Judgement

Result = TypeVar("Result", Judgement, Execution)

FINISHED_PER_WORKER = 512
"""Verdicts that may wait behind one that is not there yet, so that a slow program leaves no other worker idle."""


@dataclass(slots=True, eq=False)
class Order(Generic[Result]):
    """A task on its way to a worker, and where its result goes. Orders of one call have the same `call`."""

    task: Task[Result]
    future: Future[Result]
    call: object
    deadline: float | None
    """In `time.monotonic`; the result is IE from then on."""
    is_abandoned: bool = False
    attempts: int = 0
    """How often a worker, or a node, was lost on it or is at work on it."""
    last_failure: str = "the judge's own thread failed"


AnyOrder = Order[Any]


class Executor(ABC):
    """Judges programs for several threads and tasks at once. A context manager: leaving it leaves no process behind.

    `tier` is "A" to "D", or "none" (without isolation, only where the settings allow it); every result names the tier
    that its program ran in. `workers` is how many programs run at once.
    """

    settings: JudgeSettings
    workers: int
    tier: str

    def judge(
        self,
        submissions: Iterable[Submission],
        *,
        stop_at_first_failure: bool = False,
        deadline_seconds: float | None = None,
    ) -> Iterator[Judgement]:
        """Yield a judgement per submission, in order, consuming `submissions` as results are taken.

        With `stop_at_first_failure` the tests after the first that is not accepted do not run. What is not finished
        `deadline_seconds` after the first judgement was asked for is IE. Closing the iterator ends its programs.
        """
        return self._stream(
            (JudgementTask(each, self.settings, self.tier, stop_at_first_failure) for each in submissions),
            deadline_seconds,
        )

    def execute(
        self, submissions: Iterable[Submission], *, deadline_seconds: float | None = None
    ) -> Iterator[Execution]:
        """Yield what each submission prints or returns on all its inputs, in order, as `judge` does.

        Expected outputs are ignored. All that a submission prints is held until it is yielded.
        """
        return self._stream((ExecutionTask(each, self.settings, self.tier) for each in submissions), deadline_seconds)

    async def judge_async(
        self,
        submissions: Sequence[Submission],
        *,
        stop_at_first_failure: bool = False,
        deadline_seconds: float | None = None,
    ) -> list[Judgement]:
        """Judge all of `submissions`, in order, as `judge` does. Cancelling it ends its programs."""
        return await self._gather(
            [JudgementTask(each, self.settings, self.tier, stop_at_first_failure) for each in submissions],
            deadline_seconds,
        )

    async def execute_async(
        self, submissions: Sequence[Submission], *, deadline_seconds: float | None = None
    ) -> list[Execution]:
        """Execute all of `submissions`, in order, as `execute` does. Cancelling it ends their programs."""
        return await self._gather(
            [ExecutionTask(each, self.settings, self.tier) for each in submissions], deadline_seconds
        )

    @property
    @abstractmethod
    def is_alive(self) -> bool:
        """True while programs can be judged."""

    @abstractmethod
    def close(self) -> None:
        """End all workers and the processes below them; what is still running raises `InfrastructureError`."""

    @property
    @abstractmethod
    def _most_unfinished(self) -> int:
        """Orders of one stream that may wait or run at once."""

    @abstractmethod
    def _put(self, order: AnyOrder) -> None:
        """Have an order carried out. Raises `InfrastructureError` where the judge takes none any more."""

    @abstractmethod
    def _abandon(self, order: AnyOrder) -> None:
        """Drop an order that nobody waits for, and end its program if it runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _gather(self, pending: Sequence[Task[Result]], deadline_seconds: float | None) -> list[Result]:
        deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        call = object()
        orders: list[Order[Result]] = [Order(task, Future(), call, deadline) for task in pending]
        try:
            for order in orders:
                self._put(order)
            return list(await asyncio.gather(*(asyncio.wrap_future(order.future) for order in orders)))
        finally:
            for order in orders:
                self._abandon(order)

    def _stream(self, pending: Iterable[Task[Result]], deadline_seconds: float | None) -> Iterator[Result]:
        deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        left, call = iter(pending), object()
        promised: deque[Future[Result]] = deque()
        unfinished: dict[Future[Result], Order[Result]] = {}
        finished: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        characters = 0
        try:
            while True:
                has_room = (
                    len(unfinished) < self._most_unfinished
                    and len(promised) < FINISHED_PER_WORKER * self.workers
                    and characters < self.settings.output_mib * MIB * self.workers
                )
                if has_room and (task := next(left, None)) is not None:
                    order: Order[Result] = Order(task, Future(), call, deadline)
                    self._put(order)
                    promised.append(order.future)
                    unfinished[order.future] = order
                    order.future.add_done_callback(finished.put)
                elif unfinished:
                    future = finished.get()
                    del unfinished[future]
                    characters += future.result().characters
                else:
                    return
                while promised and promised[0] not in unfinished:
                    result = promised.popleft().result()
                    characters -= result.characters
                    yield result
        finally:
            for order in unfinished.values():
                self._abandon(order)
