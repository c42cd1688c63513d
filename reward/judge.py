"""The judge on this machine: a pool of sandbox workers behind one thread each, and the verdicts on what they ran.

Expected outputs live here and in `compare` only. The order of verdicts is the order of submissions, whichever finish
first; what is in flight is bounded, so an endless iterable of submissions can be judged in bounded memory.
"""

import logging
import os
import queue
import threading
import time
from typing import Any

from reward.config import JudgeSettings
from reward.executor import Executor, Order, Result
from reward.tiers import form_tier
from reward.worker import DeadlinePassed, Worker
from xcoder_train.core.errors import EnvironmentLacks, InfrastructureError

logger = logging.getLogger(__name__)

IN_FLIGHT_PER_WORKER = 8
ATTEMPTS = 2


class Judge(Executor):
    """Judges programs on this machine. Raises `EnvironmentLacks` where no isolation tier can be formed."""

    def __init__(self, settings: JudgeSettings, *, workers: int | None = None) -> None:
        self.settings = settings
        self.workers = workers or settings.workers or len(os.sched_getaffinity(0))
        self.tier = form_tier(settings.tier, settings.allow_unsandboxed)
        self._queue: queue.SimpleQueue[Order[Any] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = [_WorkerThread(self.tier, self._queue, self._closed) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

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

    @property
    def _most_in_flight(self) -> int:
        return IN_FLIGHT_PER_WORKER * self.workers

    def _put(self, order: Order[Any]) -> None:
        if self._closed.is_set():
            raise InfrastructureError("this judge is closed")
        self._queue.put(order)

    def _abandon(self, order: Order[Any]) -> None:
        if order.future.done() or order.future.cancel():
            return
        order.is_abandoned = True
        for thread in self._threads:
            thread.interrupt(order)


class _WorkerThread(threading.Thread):
    """Takes orders and runs them on a zygote of its own, which it starts anew after a failure.

    The zygote is started here, not by the caller: it dies with the thread that started it.
    """

    def __init__(self, tier: str, orders: queue.SimpleQueue[Order[Any] | None], closed: threading.Event) -> None:
        super().__init__(name="judge-worker", daemon=True)
        self._tier = tier
        self._orders = orders
        self._closed = closed
        self._workers: dict[bool, Worker] = {}
        self._worker: Worker | None = None
        self._current: Order[Any] | None = None
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

    def interrupt(self, order: Order[Any] | None = None) -> None:
        """Make a running job fail at once: that of `order` only, or whichever runs."""
        with self._lock:
            if self._worker is not None and (order is None or order is self._current):
                self._worker.interrupt()

    def _carry_out(self, order: Order[Result]) -> Result:
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

    def _check_wanted(self, order: Order[Any]) -> None:
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
