"""A rank's share of its node's cores: each process of a distributed job has a judge of its own."""

import os


def workers_of_this_process(on_node: int | None) -> int:
    """How many workers this process runs where the node runs `on_node`, or one per core that may be used.

    The ranks that torchrun or accelerate started on a node divide them; the first ones take what is left over. Each
    has at least one, so more ranks than cores share a core.
    """
    on_node = workers_of_this_node(on_node)
    ranks, rank = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    return max(1, on_node // ranks + (rank < on_node % ranks))


def workers_of_this_node(on_node: int | None) -> int:
    """How many workers the node runs: as many as the settings say, or one per core that may be used."""
    return on_node or len(os.sched_getaffinity(0))


def ranks_of_this_job() -> int:
    """How many processes torchrun or accelerate started on all nodes together; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", 1))
