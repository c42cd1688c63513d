"""The judge: a pool of sandbox workers behind one thread each, and the verdicts on what they ran.

Expected outputs live here and in `compare` only. The order of verdicts is the order of submissions, whichever finish
first; what is in flight is bounded, so an endless iterable of submissions can be judged in bounded memory.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from reward import tasks
from reward.config import JudgeSettings
from reward.submission import Submission
from reward.tasks import ExecutionTask, JudgementTask
from reward.tiers import form_tier
from reward.verdict import Execution, Judgement
from reward.worker import DeadlinePassed, Worker
from xcoder_train.core.errors import EnvironmentLacks, InfrastructureError

Result = TypeVar("Result", Judgement, Execution)
logger = logging.getLogger(__name__)

IN_FLIGHT_PER_WORKER = 8
ATTEMPTS = 2


class Judge:
    """Judges programs on this machine. A context manager: leaving it, or `close`, leaves no process behind.

    `tier` is "A" to "D", or "none" (without isolation, only where the settings allow it); it stands in every result.
    Methods may be called from several threads and tasks at once; they share the workers.
    Raises `EnvironmentLacks` where no isolation tier can be formed.
    """

    def __init__(self, settings: JudgeSettings, *, workers: int | None = None) -> None:
        self.settings = settings
        self.workers = workers or settings.workers or len(os.sched_getaffinity(0))
        self.tier = form_tier(settings.tier, settings.allow_unsandboxed)
        self._queue: queue.SimpleQueue[_Order[Any] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = [_WorkerThread(self.tier, self._queue, self._closed) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

    def judge(self, submissions: Iterable[Submission], *, stop_at_first_failure: bool) -> Iterator[Judgement]:
        """Yield a judgement per submission, in order, consuming `submissions` as results are taken.

        Every test runs in a fresh process (unless the submission shares one). With `stop_at_first_failure` the tests
        after the first that is not accepted do not run.
        """
        return self._stream(
            JudgementTask(submission, self.settings, self.tier, stop_at_first_failure) for submission in submissions
        )

    def execute(self, submissions: Iterable[Submission]) -> Iterator[Execution]:
        """Yield what each submission prints or returns on all its inputs, in order. Expected outputs are ignored."""
        return self._stream(ExecutionTask(submission, self.settings, self.tier) for submission in submissions)

    async def judge_async(
        self,
        submissions: Sequence[Submission],
        *,
        stop_at_first_failure: bool,
        deadline_seconds: float | None = None,
    ) -> list[Judgement]:
        """Judge all of `submissions`, in order. What is not finished after `deadline_seconds` is IE.

        Cancelling it ends the programs that are running for it.
        """
        pending = [
            JudgementTask(submission, self.settings, self.tier, stop_at_first_failure) for submission in submissions
        ]
        return await self._gather(pending, deadline_seconds)

    async def execute_async(
        self, submissions: Sequence[Submission], *, deadline_seconds: float | None = None
    ) -> list[Execution]:
        """Execute all of `submissions`, in order, under the same terms as `judge_async`."""
        pending = [ExecutionTask(submission, self.settings, self.tier) for submission in submissions]
        return await self._gather(pending, deadline_seconds)

    @property
    def is_alive(self) -> bool:
        """True while every worker thread takes orders."""
        return not self._closed.is_set() and all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """End all workers and the processes below them; what is still running raises `InfrastructureError`."""
        if self._closed.is_set():
            return
        self._closed.set()
        for thread in self._threads:
            self._queue.put(None)
            thread.interrupt()
        for thread in self._threads:
            thread.join()
        while True:
            try:
                order = self._queue.get_nowait()
            except queue.Empty:
                return
            if order is not None:
                order.future.cancel()

    def __enter__(self) -> "Judge":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _gather(self, pending: "Sequence[tasks.Task[Result]]", deadline_seconds: float | None) -> list[Result]:
        deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        orders = [self._order(task, deadline) for task in pending]
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(order.future) for order in orders)))
        finally:
            for order in orders:
                self._abandon(order)

    def _submit(self, task: "tasks.Task[Result]") -> "Future[Result]":
        return self._order(task, None).future

    def _order(self, task: "tasks.Task[Result]", deadline: float | None) -> "_Order[Result]":
        if self._closed.is_set():
            raise InfrastructureError("this judge is closed")
        order = _Order(task, Future(), deadline)
        self._queue.put(order)
        return order

    def _abandon(self, order: "_Order[Any]") -> None:
        """Drop an order that nobody waits for, also one whose program runs. Nothing where it is done."""
        if order.future.done() or order.future.cancel():
            return
        order.is_abandoned = True
        for thread in self._threads:
            thread.interrupt(order)

    def _stream(self, pending: "Iterable[tasks.Task[Result]]") -> Iterator[Result]:
        futures: deque[Future[Result]] = deque()
        try:
            for task in pending:
                futures.append(self._submit(task))
                if len(futures) >= IN_FLIGHT_PER_WORKER * self.workers:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        except CancelledError as error:
            raise InfrastructureError("the judge was closed before the verdict") from error
        finally:
            for future in futures:
                future.cancel()


@dataclass(slots=True)
class _Order(Generic[Result]):
    """A task on its way to a worker, and where its result goes."""

    task: "tasks.Task[Result]"
    future: "Future[Result]"
    deadline: float | None
    is_abandoned: bool = False


class _WorkerThread(threading.Thread):
    """Takes orders and runs them on a zygote of its own, which it starts anew after a failure.

    The zygote is started here, not by the caller: it dies with the thread that started it.
    """

    def __init__(self, tier: str, orders: "queue.SimpleQueue[_Order[Any] | None]", closed: threading.Event) -> None:
        super().__init__(name="judge-worker", daemon=True)
        self._tier = tier
        self._orders = orders
        self._closed = closed
        self._workers: dict[bool, Worker] = {}
        self._worker: Worker | None = None
        self._current: _Order[Any] | None = None
        self._lock = threading.Lock()

    def run(self) -> None:
        while (order := self._orders.get()) is not None:
            if order.future.set_running_or_notify_cancel():
                with self._lock:
                    self._current = order
                try:
                    order.future.set_result(self._carry_out(order))
                except BaseException as error:
                    order.future.set_exception(error)
                with self._lock:
                    self._current = None
                if self._worker is not None and self._worker.is_interrupted:  # too late: its job had just ended
                    self._drop_worker()
        for worker in self._workers.values():
            worker.close()

    def interrupt(self, order: "_Order[Any] | None" = None) -> None:
        """Make a running job fail at once: that of `order` only, or whichever runs."""
        with self._lock:
            if self._worker is not None and (order is None or order is self._current):
                self._worker.interrupt()

    def _carry_out(self, order: "_Order[Result]") -> Result:
        """Run a task, a second time on a fresh worker where the first one failed; then it is IE."""
        task, deadline, reason = order.task, order.deadline, ""
        for _ in range(ATTEMPTS):
            if deadline is not None and time.monotonic() >= deadline:
                return task.infrastructure_failure("the deadline passed before the program was run")
            self._check_wanted(order)
            try:
                worker = self._live_worker(task.for_functions)
                self._check_wanted(order)  # again, now that the worker can be interrupted: nothing slips in between
                return task.carry_out(worker, deadline)
            except DeadlinePassed as error:
                self._drop_worker()
                return task.infrastructure_failure(str(error))
            except (InfrastructureError, EnvironmentLacks) as error:
                self._drop_worker()
                if self._closed.is_set() or order.is_abandoned:
                    raise
                reason = str(error)
                logger.warning("a sandbox worker failed on submission %r: %s", task.submission.id, reason)
        return task.infrastructure_failure(reason)

    def _check_wanted(self, order: "_Order[Any]") -> None:
        if self._closed.is_set():
            raise InfrastructureError("the judge was closed before the verdict")
        if order.is_abandoned:
            raise InfrastructureError("nobody waits for the verdict any more")

    def _live_worker(self, for_functions: bool) -> Worker:
        """The worker of this kind, started where there is none; from here on it is the one that is interrupted."""
        worker = self._workers.get(for_functions)
        if worker is None:
            worker = self._workers[for_functions] = Worker(self._tier, for_functions=for_functions)
        with self._lock:
            self._worker = worker
        return worker

    def _drop_worker(self) -> None:
        """Close the worker that was used last."""
        with self._lock:
            if self._worker is not None:
                del self._workers[self._worker.for_functions]
                self._worker.close()
                self._worker = None
