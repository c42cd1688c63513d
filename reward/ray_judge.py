"""The judge on a Ray cluster: submissions go out to the nodes in batches, results come back in order.

One thread runs an event loop that owns all state: the queue of orders, the nodes, what each of them has in hand. A
node gets work as it has room, so a fast one gets more. The unfinished orders of a lost node return to the front of the
queue; an order that `ATTEMPTS` nodes were lost on is IE. Nodes that join later are used.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle

from reward.config import JudgeSettings
from reward.executor import AnyOrder, Executor
from reward.ray_nodes import NodeOffer, connect, offers, start_actor
from reward.tasks import JudgementTask
from reward.tiers import TIERS
from reward.verdict import Execution, Judgement
from xcoder_core.errors import EnvironmentLacks, InfrastructureError

logger = logging.getLogger(__name__)

BATCH = 8
"""Most submissions that travel together."""
ATTEMPTS = 3
"""Nodes that may be lost on an order before it is IE."""
NODE_SECONDS = 60.0
"""A node's actor must answer within this time after it was started or lost."""
TRAVEL_SECONDS = 5.0
"""What a node had finished at a deadline must arrive within this time after it."""
WATCH_SECONDS = 5.0
CLUSTER_SECONDS = 30.0
"""The cluster's head must answer within this time. Without a head Ray ends this process after 60 s."""
CLOSE_SECONDS = 10.0
WEAKEST_LAST = (*TIERS, "none")


class RayJudge(Executor):
    """Judges programs on the nodes of a running Ray cluster, of which this machine is one.

    `workers` counts those of all nodes in use, `tier` is the weakest used so far. `sharers` processes divide the
    cluster's processors. Raises `EnvironmentLacks` without a cluster, or where no node can isolate programs.
    """

    def __init__(self, settings: JudgeSettings, *, sharers: int = 1) -> None:
        self.settings = settings
        self.workers = 0
        self.tier = TIERS[0]
        self._sharers = sharers
        self._node_settings = settings.model_copy(update={"executor": "local"})
        self._queue: deque[AnyOrder] = deque()
        self._nodes: dict[str, _Node] = {}
        self._refusals: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand: dict[AnyOrder, tuple[ray.ObjectRef[Any], list[AnyOrder]]] = {}
        """With the answer of its batch, which Ray refers to, and all orders of the batch."""
        self._end: str | None = None
        self._is_open = False
        self._is_closed = False
        self._disconnect = connect(settings.ray_address)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ray-judge", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        return self._end is None

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._disconnect:
            ray.shutdown()

    @property
    def _most_unfinished(self) -> int:
        """Twice what the nodes hold, so that a node with room finds a whole batch."""
        return 2 * BATCH * max(1, sum(node.room for node in list(self._nodes.values())))

    def _put(self, order: AnyOrder) -> None:
        if self._end is not None:
            raise InfrastructureError(self._end)
        self._soon(self._accept, order)

    def _abandon(self, order: AnyOrder) -> None:
        if not order.future.done() and not order.future.cancel():
            order.is_abandoned = True
            self._soon(self._recall, order)

    def _soon(self, work: Callable[..., object], *arguments: object) -> None:
        """Do something on the event loop, if it still runs."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work, *arguments)

    # What follows runs on the event loop alone.

    async def _open(self) -> None:
        self._start_nodes(offers(self.settings.workers, self._sharers))
        if not self._tasks:
            raise EnvironmentLacks(f"the Ray cluster at {self.settings.ray_address} has no node with processors")
        _, late = await asyncio.wait(self._tasks, timeout=NODE_SECONDS)
        if not any(node.is_up for node in self._nodes.values()):
            offered = [node.offer for node in self._nodes.values()]
            reasons = [f"{offer.name}: {offer.workers} processors are not free" for offer in offered]
            reason = "; ".join([*self._refusals.values(), *reasons])
            raise EnvironmentLacks(f"no node of the Ray cluster at {self.settings.ray_address} can judge: {reason}")
        if late:
            logger.warning("%d nodes of the Ray cluster have no processors free yet", len(late))
        self._is_open = True
        self._spawn(self._watch())

    def _start_nodes(self, found: dict[str, NodeOffer]) -> None:
        for identity, offer in found.items():
            if identity not in self._nodes and identity not in self._refusals:
                node = self._nodes[identity] = _Node(offer, start_actor(offer, self._node_settings))
                self._spawn(self._bring_up(node, None))

    async def _bring_up(self, node: "_Node", seconds: float | None) -> None:
        """Wait for the node's actor to answer, then give it work; drop the node where it will not."""
        try:
            async with asyncio.timeout(seconds):
                tier, reason = await self._description(node)
        except TimeoutError:
            tier, reason = None, f"it did not answer for {seconds:g} s"
        except ray.exceptions.RayError as error:
            tier, reason = None, _reason_of(error)
        if tier is None:
            self._drop(node, reason)
            return
        self.tier = max(self.tier, tier, key=WEAKEST_LAST.index)
        node.is_up = node.has_worked = True
        self.workers += node.offer.workers
        self._dispatch()

    async def _description(self, node: "_Node") -> tuple[str | None, str]:
        while True:
            try:
                return await node.actor.describe.remote()
            except ray.exceptions.ActorUnavailableError:  # Ray is starting it anew
                await asyncio.sleep(1)

    def _drop(self, node: "_Node", reason: str) -> None:
        logger.warning("node %s of the Ray cluster is no longer used: %s", node.offer.name, reason)
        self._refusals[node.offer.identity] = f"{node.offer.name}: {reason}"
        del self._nodes[node.offer.identity]
        ray.kill(node.actor)
        # One whose processors were never free is no hope: it could be waited for without end.
        if self._is_open and not any(left.has_worked for left in self._nodes.values()):
            self._give_up(
                f"no node of the Ray cluster at {self.settings.ray_address} is left to judge on; "
                + "; ".join(self._refusals.values())
            )

    async def _watch(self) -> None:
        """Use nodes that join; notice those that left with nothing in hand, and when the cluster as a whole is gone."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            found: Future[dict[str, NodeOffer]] = Future()
            # A daemon, since this process could not end while a call to a cluster without a head is waited for.
            threading.Thread(target=self._look, args=(found,), daemon=True).start()
            try:
                living = await asyncio.wait_for(asyncio.wrap_future(found), CLUSTER_SECONDS)
            except Exception as error:
                reason = str(error) or f"its head is silent for {CLUSTER_SECONDS:g} s"
                self._give_up(f"the Ray cluster at {self.settings.ray_address} does not answer any more: {reason}")
                return
            for identity, node in self._nodes.items():
                if node.is_up and identity not in living:
                    self._doubt(node, "it has left the cluster")
            self._start_nodes(living)

    def _look(self, found: Future[dict[str, NodeOffer]]) -> None:
        with contextlib.suppress(InvalidStateError):
            try:
                found.set_result(offers(self.settings.workers, self._sharers))
            except Exception as error:
                found.set_exception(error)

    def _give_up(self, reason: str) -> None:
        """Fail what waits and what comes."""
        self._end = reason
        for order in [*self._in_hand, *self._queue]:
            _settle(order, InfrastructureError(reason))
        self._queue.clear()

    def _accept(self, order: AnyOrder) -> None:
        if self._end is not None:
            _settle(order, InfrastructureError(self._end))
            return
        if order.deadline is not None:  # the loop's clock is time.monotonic, too
            late = order.task.infrastructure_failure("the deadline passed before the verdict")
            timer = self._loop.call_at(order.deadline, self._expire, order, late)
            order.future.add_done_callback(lambda _: self._soon(timer.cancel))
        self._queue.append(order)
        self._dispatch()

    def _expire(self, order: AnyOrder, late: Judgement | Execution) -> None:
        """A batch comes back whole, at the deadline at the latest: what was finished in it is on its way now."""
        if order in self._in_hand:
            self._loop.call_later(TRAVEL_SECONDS, _settle, order, late)
        else:
            _settle(order, late)

    def _dispatch(self) -> None:
        while self._queue and (free := [node for node in self._nodes.values() if node.is_up and node.free > 0]):
            node = max(free, key=lambda node: node.free / node.room)
            size = -(-len(self._queue) // sum(node.free for node in free))
            batch = self._next_batch(min(BATCH, size))
            if batch:
                node.in_hand += 1
                self._spawn(self._run(node, batch))

    def _next_batch(self, size: int) -> list[AnyOrder]:
        """Up to `size` orders of one call, in order, without those that nobody waits for."""
        batch: list[AnyOrder] = []
        while self._queue and len(batch) < size and (not batch or self._queue[0].call is batch[0].call):
            order = self._queue.popleft()
            future = order.future
            if future.running() or (not future.done() and future.set_running_or_notify_cancel()):
                batch.append(order)
        return batch

    async def _run(self, node: "_Node", orders: list[AnyOrder]) -> None:
        task, deadline = orders[0].task, orders[0].deadline
        submissions = [order.task.submission for order in orders]
        stop_at_first_failure = task.stop_at_first_failure if isinstance(task, JudgementTask) else None
        seconds = None if deadline is None else max(0.0, deadline - self._loop.time())
        answer: ray.ObjectRef[Any] = node.actor.run.remote(submissions, stop_at_first_failure, seconds)
        self._in_hand |= dict.fromkeys(orders, (answer, orders))
        try:
            for order, result in zip(orders, await answer, strict=True):
                _settle(order, result)
        except ray.exceptions.RayError as error:
            self._take_back(node, orders, _reason_of(error))
        finally:
            for order in orders:
                del self._in_hand[order]
            node.in_hand -= 1
        self._dispatch()

    def _take_back(self, node: "_Node", orders: list[AnyOrder], reason: str) -> None:
        """Have other nodes do what a node left undone, or the same one once it answers again."""
        for order in reversed(orders):
            order.attempts += 1
            if order.is_abandoned:
                _settle(order, InfrastructureError("nobody waits for the verdict any more"))
            elif order.attempts >= ATTEMPTS:
                lost = f"{ATTEMPTS} times the node that worked on it was lost; the last reason: {reason}"
                _settle(order, order.task.infrastructure_failure(lost))
            elif not order.future.done():
                self._queue.appendleft(order)
        if node.is_up and not all(order.is_abandoned for order in orders):
            self._doubt(node, reason)

    def _doubt(self, node: "_Node", reason: str) -> None:
        """Give a node no work until its actor answers again."""
        logger.warning("node %s of the Ray cluster does not answer: %s", node.offer.name, reason)
        node.is_up = False
        self.workers -= node.offer.workers
        self._spawn(self._bring_up(node, NODE_SECONDS))

    def _recall(self, order: AnyOrder) -> None:
        """End the programs of a batch once nobody waits for any of its orders."""
        answer, batch = self._in_hand.get(order, (None, []))
        if answer is not None and all(each.is_abandoned or each.future.done() for each in batch):
            ray.cancel(answer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the judge on Ray failed", exc_info=error)
            self._give_up(f"the judge on Ray failed: {error!r}")

    async def _shut_down(self) -> None:
        self._give_up("the judge is closed")
        for task in list(self._tasks):
            task.cancel()
        nodes = list(self._nodes.values())
        ends = [node.actor.close.remote() for node in nodes if node.is_up]
        with contextlib.suppress(TimeoutError):
            # A lost node's error is none: it has nothing left to close.
            await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), CLOSE_SECONDS)
        for node in nodes:
            ray.kill(node.actor)
        self._nodes.clear()


@dataclass(slots=True, eq=False)
class _Node:
    """A node with its actor, and how many batches it has in hand."""

    offer: NodeOffer
    actor: ActorHandle
    is_up: bool = False
    has_worked: bool = False
    in_hand: int = 0

    @property
    def room(self) -> int:
        """Batches that it may hold: with one more than it has workers, no program that hangs leaves a worker idle."""
        return self.offer.workers + 1

    @property
    def free(self) -> int:
        return self.room - self.in_hand


def _settle(order: AnyOrder, result: Judgement | Execution | InfrastructureError) -> None:
    """Give an order its result, unless it has one or nobody waits for it any more."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(result, InfrastructureError):
            order.future.set_exception(result)
        else:
            order.future.set_result(result)


def _reason_of(error: Exception) -> str:
    """Ray's messages end with the reason."""
    if isinstance(error, ray.exceptions.ActorUnschedulableError):
        return "the node has left the cluster"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
