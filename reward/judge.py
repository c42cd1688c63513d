"""The judge on this machine: a pool of sandbox workers, with one thread each.

What is in flight, and what is finished behind a slow program, is bounded, so that an endless iterable of submissions is
judged in bounded memory. A thread that fails, whatever it fails of, goes on with the order in its hand.
"""

import logging
import os
import queue
import threading
import time
from itertools import islice
from pathlib import Path

from reward.config import JudgeSettings
from reward.executor import AnyOrder, Executor, Order, Result
from reward.tiers import form_tier
from reward.worker import DeadlinePassed, Worker
from xcoder_core.errors import EnvironmentLacks, InfrastructureError
from xcoder_core.terminal import harmless_lines

logger = logging.getLogger(__name__)

UNFINISHED_PER_WORKER = 8
ATTEMPTS = 2
CLOSED = "the judge was closed before the verdict"


class Judge(Executor):
    """Judges programs on this machine. Raises `EnvironmentLacks` where no isolation tier can be formed.

    `workers` is the number of sandboxes at a time; left out, this process's share of the node's.
    """

    def __init__(self, settings: JudgeSettings, *, workers: int | None = None) -> None:
        self.settings = settings
        self.workers = workers or workers_of_this_process(settings.workers)
        self.tier = form_tier(settings.tier, settings.allow_unsandboxed)
        self._queue: queue.SimpleQueue[AnyOrder | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # no order is put after those that end the threads
        self._threads = [_WorkerThread(self.tier, self._queue, self._closed) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        return not self._closed.is_set() and all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
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

    @property
    def _most_unfinished(self) -> int:
        return UNFINISHED_PER_WORKER * self.workers

    def _put(self, order: AnyOrder) -> None:
        with self._lock:
            if self._closed.is_set():
                raise InfrastructureError("this judge is closed")
            self._queue.put(order)

    def _abandon(self, order: AnyOrder) -> None:
        if order.future.done() or order.future.cancel():
            return
        order.is_abandoned = True
        for thread in self._threads:
            thread.interrupt(order)


def workers_of_this_process(on_node: int | None) -> int:
    """How many of the node's workers this process runs: the ranks of the node divide them, the first take the rest.

    Each has at least one, so more ranks than cores share a core.
    """
    on_node = on_node or usable_cores()
    ranks, rank = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    return max(1, on_node // ranks + (rank < on_node % ranks))


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and by the processor time of its cgroup (version 2).

    A container may see every core of its machine and have the time of a few. With a worker for each that it sees,
    programs would wait for each other until their wall-clock cap.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(seen, cores_of_cgroup(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))))


def cores_of_cgroup(mount: Path, membership: Path) -> float:
    """The least of what the cgroup of `membership` and those above it grant; infinite where none sets a limit."""
    granted = float("inf")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return granted
    own = next((mount / line.removeprefix("0::/") for line in lines if line.startswith("0::/")), mount)
    for group in (own, *own.parents):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except OSError:
            continue
        if quota != "max":
            granted = min(granted, int(quota) / int(period))
    return granted


class _WorkerThread(threading.Thread):
    """Takes orders and runs them on a zygote of its own, which it starts anew after a failure.

    The zygote is started here, not by the caller: it dies with the thread that started it.
    """

    def __init__(self, tier: str, orders: queue.SimpleQueue[AnyOrder | None], closed: threading.Event) -> None:
        super().__init__(name="judge-worker", daemon=True)
        self._tier = tier
        self._orders = orders
        self._closed = closed
        self._workers: dict[bool, Worker] = {}
        self._worker: Worker | None = None
        self._hand: list[AnyOrder] = []
        self._is_done = False
        self._lock = threading.Lock()

    def run(self) -> None:
        while not self._is_done:
            try:
                self._work()
            except BaseException as error:  # of no order: a lack of memory, a SystemExit thrown at this thread
                logger.warning("a thread of the judge failed and goes on: %r", error)

    def interrupt(self, order: AnyOrder | None = None) -> None:
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

    def _finish(self, order: AnyOrder) -> None:
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

    def _carry_out(self, order: Order[Result]) -> Result:
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
                logger.warning(
                    "a sandbox worker failed on submission %r: %s", task.submission.id, harmless_lines(str(error))
                )
        return task.infrastructure_failure(order.last_failure)

    def _check_wanted(self, order: AnyOrder) -> None:
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
