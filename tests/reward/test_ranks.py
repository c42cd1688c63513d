"""The processes of a distributed job share the workers of their node."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge, cores_of_cgroup

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("on_node", "ranks"), [(8, 3), (4, 4), (2, 3), (7, 1)])
def test_ranks_of_a_node_divide_its_workers(on_node: int, ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    shares = []
    for rank in range(ranks):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        with Judge(JudgeSettings(workers=on_node)) as judge:
            shares.append(judge.workers)
    assert sum(shares) == max(on_node, ranks)
    assert max(shares) - min(shares) <= 1


def test_a_container_has_the_cores_of_its_processor_time_not_those_that_it_sees(tmp_path: Path) -> None:
    group = tmp_path / "mount" / "pod" / "container"
    group.mkdir(parents=True)
    membership = tmp_path / "cgroup"
    membership.write_text("0::/pod/container\n")
    assert cores_of_cgroup(tmp_path / "mount", membership) == float("inf")
    (group / "cpu.max").write_text("max 100000\n")
    (group.parent / "cpu.max").write_text("350000 100000\n")
    assert cores_of_cgroup(tmp_path / "mount", membership) == 3.5
    (group / "cpu.max").write_text("50000 100000\n")
    assert cores_of_cgroup(tmp_path / "mount", membership) == 0.5


def test_without_a_limit_a_process_has_the_cores_of_its_affinity() -> None:
    command = [sys.executable, "-c", "from reward.judge import usable_cores; print(usable_cores())"]
    said = subprocess.run(["taskset", "--cpu-list", "0", *command], capture_output=True, check=True, text=True).stdout
    assert said == "1\n"


@pytest.mark.slow
def test_two_ranks_of_torchrun_start_no_more_zygotes_than_there_are_cores(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent("""
        from tests.reward.test_scheduling import *
        with Judge(JudgeSettings(workers=3)) as judge:
            assert {each.verdict for each in judged(judge, *[napping(0.2)] * 12)} == {Verdict.AC}
            zygotes = len([p for p in psutil.Process().children()])
            Path(os.environ["OUT"], os.environ["LOCAL_RANK"]).write_text(str(zygotes))
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OUT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, timeout=200)
    assert [(tmp_path / rank).read_text() for rank in ("0", "1")] == ["2", "1"]
