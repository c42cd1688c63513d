"""Synthesis on a Ray cluster: the bytes of one machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_candidates_executed_on_a_ray_cluster_give_the_same_bytes_also_when_a_node_is_killed(
    monkeypatch: pytest.MonkeyPatch,
    finished_run: Path,
    start_synthesis: Callable[..., Any],
    finish_synthesis: Callable[..., Path],
    digests: Callable[[Path], dict[str, str]],
    small_settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20, wait=False) for _ in range(2)]
        cluster.wait_for_nodes()
        on_ray = {**small_settings, "executor": "ray"}
        whole = finish_synthesis(tmp_path / "whole", on_ray, 1, cluster.address)
        assert digests(whole) == digests(finished_run)

        process = start_synthesis(tmp_path / "shaken", on_ray, 1, cluster.address)
        for line in process.stderr:
            if line.startswith("executions:"):
                cluster.remove_node(nodes[0], allow_graceful=False)
                break
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert digests(tmp_path / "shaken") == digests(finished_run)
    finally:
        cluster.shutdown()
