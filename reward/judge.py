"""The judge: a pool of sandbox workers behind one thread each, and the verdicts on what they ran.

Expected outputs live here and in `compare` only. The order of verdicts is the order of submissions, whichever finish
first; what is in flight, and what is finished behind a slow one, is bounded, so an endless iterable of submissions can
be judged in bounded memory. A thread that fails, whatever it fails of, goes on with the order in its hand.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Generic, TypeVar

from reward import tasks
from reward.config import JudgeSettings
from reward.ranks import workers_of_this_process
from reward.shared import MIB
from reward.submission import Submission
from reward.tasks import ExecutionTask, JudgementTask
from reward.tiers import form_tier
from reward.verdict import Execution, Judgement
from reward.worker import DeadlinePassed, Worker
from xcoder_train.core.errors import EnvironmentLacks, InfrastructureError

Result = TypeVar("Result", Judgement, Execution)
logger = logging.getLogger(__name__)

UNFINISHED_PER_WORKER = 8
FINISHED_PER_WORKER = 512
"""Verdicts that may wait, without their programs, behind one that is not there yet: the other workers would stand idle
behind a program that takes long."""
ATTEMPTS = 2
CLOSED = "the judge was closed before the verdict"


class Judge:
    """Judges programs on this machine. A context manager: leaving it, or `close`, leaves no process behind.

    `workers` is the number of sandboxes at a time; left out, this process's share of the node's (`reward.ranks`).
    `tier` is "A" to "D", or "none" (without isolation, only where the settings allow it); it stands in every result.
    Methods may be called from several threads and tasks at once; they share the workers.
    Raises `EnvironmentLacks` where no isolation tier can be formed.
    """

    def __init__(self, settings: JudgeSettings, *, workers: int | None = None) -> None:
        self.settings = settings
        self.workers = workers or workers_of_this_process(settings.workers)
        self.tier = form_tier(settings.tier, settings.allow_unsandboxed)
        self._queue: queue.SimpleQueue[_Order[Any] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # no order is put after those that end the threads
        self._threads = [_WorkerThread(self.tier, self._queue, self._closed) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

    def judge(
        self,
        submissions: Iterable[Submission],
        *,
        stop_at_first_failure: bool,
        deadline_seconds: float | None = None,
    ) -> Iterator[Judgement]:
        """Yield a judgement per submission, in order, consuming `submissions` as results are taken.

        Every test runs in a fresh process (unless the submission shares one). With `stop_at_first_failure` the tests
        after the first that is not accepted do not run. What is not finished `deadline_seconds` after the first
        judgement was asked for is IE. Closing the iterator ends the programs that are running for it.
        """
        return self._stream(
            (JudgementTask(submission, self.settings, self.tier, stop_at_first_failure) for submission in submissions),
            deadline_seconds,
        )

    def execute(
        self, submissions: Iterable[Submission], *, deadline_seconds: float | None = None
    ) -> Iterator[Execution]:
        """Yield what each submission prints or returns on all its inputs, in order, under the same terms.

        Expected outputs are ignored. All that a submission prints, on all its inputs, is held until it is yielded.
        """
        return self._stream(
            (ExecutionTask(submission, self.settings, self.tier) for submission in submissions), deadline_seconds
        )

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
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.interrupt()
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            order = self._queue.get_nowait()
            if order is not None and order.future.set_running_or_notify_cancel():
                order.future.set_exception(InfrastructureError(CLOSED))

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

    def _order(self, task: "tasks.Task[Result]", deadline: float | None) -> "_Order[Result]":
        order = _Order(task, Future(), deadline)
        with self._lock:
            if self._closed.is_set():
                raise InfrastructureError("this judge is closed")
            self._queue.put(order)
        return order

    def _abandon(self, order: "_Order[Any]") -> None:
        """Drop an order that nobody waits for, also one whose program runs. Nothing where it is done."""
        if order.future.done() or order.future.cancel():
            return
        order.is_abandoned = True
        for thread in self._threads:
            thread.interrupt(order)

    def _stream(self, pending: "Iterable[tasks.Task[Result]]", deadline_seconds: float | None) -> Iterator[Result]:
        deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        left = iter(pending)
        promised: deque[Future[Result]] = deque()
        unfinished: dict[Future[Result], _Order[Result]] = {}
        finished: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
        characters = 0
        try:
            while True:
                has_room = (
                    len(unfinished) < UNFINISHED_PER_WORKER * self.workers
                    and len(promised) < FINISHED_PER_WORKER * self.workers
                    and characters < self.settings.output_mib * MIB * self.workers
                )
                if has_room and (task := next(left, None)) is not None:
                    order = self._order(task, deadline)
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


@dataclass(slots=True, eq=False)
class _Order(Generic[Result]):
    """A task on its way to a worker, where its result goes, and what became of it so far."""

    task: "tasks.Task[Result]"
    future: "Future[Result]"
    deadline: float | None
    is_abandoned: bool = False
    attempts: int = 0
    last_failure: str = "the judge's own thread failed"


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
        self._hand: list[_Order[Any]] = []
        self._is_done = False
        self._lock = threading.Lock()

    def run(self) -> None:
        while not self._is_done:
            try:
                self._work()
            except BaseException as error:  # of no order: a lack of memory, a SystemExit thrown at this thread
                logger.warning("a thread of the judge failed and goes on: %r", error)

    def interrupt(self, order: "_Order[Any] | None" = None) -> None:
        """Make a running job fail at once: that of `order` only, or whichever runs."""
        with self._lock:
            if self._worker is not None and (order is None or order in self._hand):
                self._worker.interruption.set()

    def _work(self) -> None:
        """Carry out orders until the judge is closed, beginning with the one in hand."""
        self._drop_worker()
        while True:
            for order in self._hand:
                self._finish(order)
            with self._lock:
                self._hand.clear()
            if self._worker is not None and self._worker.interruption.is_set:  # too late: its job had just ended
                self._drop_worker()
            if self._closed.is_set():
                break
            # In one step, so that no order is out of the queue and in nobody's hand.
            self._hand.extend(islice(iter(self._orders.get, None), 1))
        for worker in self._workers.values():
            worker.close()
        self._is_done = True

    def _finish(self, order: "_Order[Any]") -> None:
        """Give an order its result, unless it has one."""
        future = order.future
        if future.done() or not (future.running() or future.set_running_or_notify_cancel()):
            return
        try:
            result = self._carry_out(order)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _carry_out(self, order: "_Order[Result]") -> Result:
        """Run a task, a second time on a fresh worker where the first one failed; then it is IE."""
        task, deadline = order.task, order.deadline
        while order.attempts < ATTEMPTS:
            if deadline is not None and time.monotonic() >= deadline:
                return task.infrastructure_failure("the deadline passed before the program was run")
            self._check_wanted(order)
            order.attempts += 1
            try:
                worker = self._live_worker(task.for_functions)
                self._check_wanted(order)  # again, now that the worker can be interrupted: nothing slips in between
                return task.carry_out(worker, deadline)
            except DeadlinePassed as error:
                self._drop_worker()
                return task.infrastructure_failure(str(error))
            except (InfrastructureError, EnvironmentLacks) as error:
                self._drop_worker()
                self._check_wanted(order)
                order.last_failure = str(error)
                logger.warning("a sandbox worker failed on submission %r: %s", task.submission.id, error)
        return task.infrastructure_failure(order.last_failure)

    def _check_wanted(self, order: "_Order[Any]") -> None:
        if self._closed.is_set():
            raise InfrastructureError(CLOSED)
        if order.is_abandoned:
            raise InfrastructureError("nobody waits for the verdict any more")

    def _live_worker(self, for_functions: bool) -> Worker:
        """The worker of this kind, started where there is none; from here on it is the one that is interrupted."""
        with self._lock:
            self._worker = None
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
                self._workers.pop(self._worker.for_functions, None)
                self._worker.close()
                self._worker = None
