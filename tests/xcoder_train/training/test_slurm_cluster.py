"""The script of `xcoder slurm` on a real Slurm: a chain of jobs through whatever a cluster does to them.

Slurm is this machine's own, its two nodes are namespaces (`slurm_cluster.py`). What it does later than a test can wait
for an administrator's commands bring forward: the warning of a time limit, and the start of a job that was put back.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.xcoder_train.training.slurm_cluster import SlurmCluster, why_not
from tests.xcoder_train.training.test_slurm_jobs import chain_recipe, write_two_machines
from tests.xcoder_train.training.two_processes import PROJECT
from xcoder_core.stage import RESULT_FILE

SECONDS = 400
OVER = ("FAILED", "CANCELLED", "TIMEOUT")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


class Chain:
    """A recipe's jobs, submitted from a folder of their own."""

    def __init__(self, slurm: SlurmCluster, folder: Path, recipe: dict[str, Any]) -> None:
        self.slurm, self.folder = slurm, folder
        folder.mkdir()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        write_two_machines(folder)
        self.jobs: dict[str, str] = {}

    def submit(self) -> None:
        path = f"{Path(sys.executable).parent}:{self.slurm.environment['PATH']}"
        environment = {**self.slurm.environment, "PATH": path, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "xcoder_train.cli", "slurm", "recipe.yaml"]
        options: dict[str, Any] = {"cwd": self.folder, "env": environment, "text": True, "check": True}
        script = subprocess.run(command, capture_output=True, **options).stdout
        said = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, **options).stdout
        self.jobs = dict(line.split(": job ") for line in said.splitlines())

    def state(self, stage: str) -> str:
        return self.slurm.job(self.jobs[stage])["JobState"]

    def log(self) -> str:
        return "".join(f"{path.name}:\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def until(self, stage: str, *states: str) -> None:
        deadline = time.monotonic() + SECONDS
        while (state := self.state(stage)) not in states:
            assert time.monotonic() < deadline and state not in OVER, f"{stage} is {state}\n{self.log()}"
            time.sleep(0.2)

    def until_steps(self, stage: str, steps: int) -> None:
        """Until training runs and has logged so many lines since it began."""
        deadline = time.monotonic() + SECONDS
        while sum(len(path.read_text().splitlines()) for path in self._metrics(stage)) < steps:
            assert time.monotonic() < deadline and self.state(stage) not in OVER, self.log()
            time.sleep(0.05)

    def start_again(self, stage: str) -> None:
        """Let a job that was put back into the queue start soon.

        Slurm itself waits two minutes: its earlier start must have ended on every node, and a node takes no credential
        of the second in which it revoked the earlier one.
        """
        self.until(stage, "PENDING")
        self.slurm.until_idle()
        self.slurm.command("scontrol", "update", f"JobId={self.jobs[stage]}", "StartTime=now+5")

    def warn(self, stage: str) -> None:
        """Tell a job's script that its time is nearly up, as Slurm does (`--signal=B:USR1@120`)."""
        self.slurm.command("scancel", "--batch", "--signal=USR1", self.jobs[stage])

    def restarts(self) -> dict[str, str]:
        return {stage: self.slurm.job(number)["Restarts"] for stage, number in self.jobs.items()}

    def result(self, stage: str) -> Path:
        (found,) = (self.folder / "runs" / "tiny" / stage).iterdir()
        return found

    def _metrics(self, stage: str) -> list[Path]:
        return list(self.folder.glob(f"runs/tiny/{stage}/*/metrics.jsonl"))


def _recipe(values: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Synthesis judged on both nodes by Ray, training on both nodes."""
    recipe = chain_recipe(values)
    recipe["synth"]["executor"] = "ray"
    recipe["sft"]["training"] |= {"max_steps": 300, "save_steps": 20}
    recipe["grpo"]["training"] |= {"max_steps": 20, "save_steps": 2}
    return {**recipe, "slurm": {"options": {"gpus-per-node": None}, "synth": {"nodes": 2}}}


@pytest.mark.slow
def test_jobs_go_on_after_time_limits_lost_nodes_and_pre_emption_to_the_result_of_undisturbed_ones(
    slurm: SlurmCluster,
    tmp_path: Path,
    recipe_values: Callable[..., dict[str, Any]],
    weights: Callable[[Path], dict[str, torch.Tensor]],
) -> None:
    recipe = _recipe(recipe_values)
    del recipe["evaluation"]
    whole, shaken = (Chain(slurm, tmp_path / name, recipe) for name in ("whole", "shaken"))
    whole.submit()
    whole.until("grpo", "COMPLETED")
    assert set(whole.restarts().values()) == {"0"}

    shaken.submit()
    shaken.until_steps("sft", 12)
    shaken.warn("sft")
    shaken.start_again("sft")
    shaken.until("sft", "RUNNING")
    shaken.until_steps("sft", 30)
    first = ["sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
    slurm.command(*first, "--wrap=true")
    shaken.start_again("sft")

    shaken.until_steps("grpo", 2)
    slurm.kill_node("node2")
    shaken.until("grpo", "PENDING")
    slurm.start_node("node2")  # the two minutes are waited for: what Slurm still sends it ends an earlier start
    shaken.until("grpo", "COMPLETED")
    assert shaken.restarts() == {"synth": "0", "sft": "2", "grpo": "1"}
    for stage in ("sft", "grpo"):
        one, other = (weights(chain.result(stage) / "model") for chain in (whole, shaken))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_after_a_stage_that_failed_no_job_waits_for_ever_and_the_script_submitted_again_goes_on(
    slurm: SlurmCluster, tmp_path: Path, recipe_values: Callable[..., dict[str, Any]]
) -> None:
    recipe = _recipe(recipe_values)
    recipe["synth"].pop("executor")
    recipe["slurm"]["synth"] = {}
    chain = Chain(slurm, tmp_path / "failed", recipe)
    chain.submit()
    chain.until_steps("sft", 4)
    slurm.command("scancel", "--signal=KILL", f"{chain.jobs['sft']}.0")
    slurm.until(lambda: chain.state("sft") == "FAILED", "failure")
    slurm.until(lambda: chain.state("report") == "CANCELLED", "end of the chain")
    kept = (chain.result("synth") / RESULT_FILE).stat().st_mtime_ns

    chain.submit()
    chain.until("report", "COMPLETED")
    assert (chain.result("synth") / RESULT_FILE).stat().st_mtime_ns == kept
    assert "finished before" in chain.log()


@pytest.mark.slow
def test_a_job_whose_time_is_too_short_for_a_checkpoint_fails_instead_of_beginning_again_without_end(
    slurm: SlurmCluster, tmp_path: Path, recipe_values: Callable[..., dict[str, Any]]
) -> None:
    recipe = _recipe(recipe_values)
    recipe["sft"]["training"]["save_steps"] = 1000
    chain = Chain(slurm, tmp_path / "short", recipe)
    chain.submit()
    chain.until_steps("sft", 4)
    chain.warn("sft")
    slurm.until(lambda: chain.state("sft") == "FAILED", "failure", SECONDS)
    assert "no checkpoint was written in the job's time" in chain.log()
