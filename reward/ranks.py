"""A rank's share of its node's cores: each process of a distributed job has a judge of its own."""

import os
from pathlib import Path


def workers_of_this_process(on_node: int | None) -> int:
    """How many of the node's workers this process runs: the ranks of the node divide them, the first take the rest.

    Each has at least one, so more ranks than cores share a core.
    """
    on_node = workers_of_this_node(on_node)
    ranks, rank = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    return max(1, on_node // ranks + (rank < on_node % ranks))


def workers_of_this_node(on_node: int | None) -> int:
    """How many workers the node runs: as many as the settings say, or one per core that may be used."""
    return on_node or usable_cores()


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


def ranks_of_this_job() -> int:
    """How many processes torchrun or accelerate started on all nodes together; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", 1))
