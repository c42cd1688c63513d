"""The nodes of a Ray cluster: how it is reached, and the one actor per node that owns that node's sandbox workers.

`Submission`s travel there, `Judgement`s and `Execution`s back. What a program made is text in their fields, which no
node evaluates.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Execution, Judgement
from xcoder_core.errors import EnvironmentLacks

CONNECT_SECONDS = 10.0
AUTO = "auto"


class NodeJudge:
    """The actor: an ordinary judge of the node on which it runs."""

    def __init__(self, settings: JudgeSettings, workers: int) -> None:
        self._lack: str | None = None
        try:
            self._judge = Judge(settings, workers=workers)
        except EnvironmentLacks as error:
            self._lack = str(error)

    async def describe(self) -> tuple[str | None, str]:
        """The node's tier, or None with the reason why it has none."""
        return (None, self._lack) if self._lack is not None else (self._judge.tier, "")

    async def run(
        self, submissions: Sequence[Submission], stop_at_first_failure: bool | None, seconds: float | None
    ) -> Sequence[Judgement | Execution]:
        """A result per submission of one call, in order, executed where `stop_at_first_failure` is None, else judged.

        `seconds` are left until the caller's deadline. Cancelling it ends its programs.
        """
        if stop_at_first_failure is None:
            return await self._judge.execute_async(submissions, deadline_seconds=seconds)
        return await self._judge.judge_async(
            submissions, stop_at_first_failure=stop_at_first_failure, deadline_seconds=seconds
        )

    async def close(self) -> None:
        """End the sandbox workers."""
        if self._lack is None:
            await asyncio.to_thread(self._judge.close)


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """A living node with processors: `name` is for people, `share` the part of its processors that is ours."""

    identity: str
    name: str
    workers: int
    share: float


def connect(address: str) -> bool:
    """Connect this process to a running cluster; False where it is connected already.

    Raises `EnvironmentLacks` where no cluster answers at `address`.
    """
    if ray.is_initialized():
        return False
    named = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if named != AUTO:
        _check_that_it_answers(named)
    is_main_thread = threading.current_thread() is threading.main_thread()
    at_termination = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise EnvironmentLacks(_unreachable(address, str(error))) from error
    finally:
        if is_main_thread:  # Ray puts a handler of its own in place of the run's
            signal.signal(signal.SIGTERM, at_termination)
    return True


def offers(workers: int | None, sharers: int) -> dict[str, NodeOffer]:
    """The living nodes by identity, with at most `workers` on each, when `sharers` processes divide the processors."""
    found = {}
    for node in ray.nodes():
        processors = int(node["Resources"].get("CPU", 0))
        if not node["Alive"] or processors < 1:
            continue
        count = max(1, min(workers or processors, processors) // sharers)
        found[node["NodeID"]] = NodeOffer(
            node["NodeID"],
            f"{node['NodeName']} ({node['NodeID'][:8]})",
            count,
            count if processors >= sharers else int(10_000 * processors / sharers) / 10_000,  # Ray counts no finer
        )
    return found


def start_actor(offer: NodeOffer, settings: JudgeSettings) -> ActorHandle:
    """The handle of a `NodeJudge` on that node and no other. Ray starts it anew when its process dies."""
    actor = ray.remote(NodeJudge).options(
        num_cpus=offer.share,
        max_restarts=-1,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(offer.identity, soft=False),
    )
    return cast(ActorHandle, actor.remote(settings, offer.workers))


def _check_that_it_answers(address: str) -> None:
    """Ray itself would try for minutes and then end the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise EnvironmentLacks(_unreachable(address, str(error))) from error


def _unreachable(address: str, reason: str) -> str:
    return (
        f"no Ray cluster at judge.ray_address = {address}: {reason.strip()}. Expected `auto` on a node of a running "
        "cluster, or the HOST:PORT that `ray start --head` printed; `ray status` shows whether it runs"
    )
