"""The script of `xcoder slurm`, really run: every stage, training on two nodes, through a time limit and a lost node.

The scheduler's four commands are small stand-ins (`slurm_stand_in/`), whose nodes are this machine: they show what our
script does with what Slurm promises, not that Slurm keeps it. Training's processes meet over gloo, as on two machines.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from tests.xcoder_train.training.two_processes import PROJECT
from xcoder_core.records import read_table

STAND_IN = Path(__file__).with_name("slurm_stand_in")
STAGES = ("synth", "sft", "grpo", "evaluation", "report")
SECONDS = 1500


@dataclass(frozen=True)
class Cluster:
    """One run's folder and what the stand-ins know of its jobs: a folder of each in `jobs`."""

    folder: Path

    def submit(self, recipe: dict[str, Any]) -> "subprocess.Popen[str]":
        """Render the script and run it; a stand-in returns when its job has ended."""
        (self.folder / "jobs").mkdir(parents=True)
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        write_two_machines(self.folder)
        commands = os.pathsep.join([str(STAND_IN), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": commands, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        environment |= {"JOBS": str(self.folder / "jobs"), "STAND_IN_PYTHON": sys.executable}
        command = [sys.executable, "-m", "xcoder_train.cli", "slurm", "recipe.yaml"]
        rendered = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True
        ).stdout
        return subprocess.Popen(["bash", "-c", rendered], cwd=self.folder, env=environment, text=True)

    def job(self, stage: str) -> Path:
        return self.folder / "jobs" / str(STAGES.index(stage) + 1)

    def log(self, stage: str) -> str:
        return (self.job(stage) / "log").read_text()

    def result(self, stage: str) -> Path:
        (found,) = (self.folder / "runs" / "tiny" / stage).iterdir()
        return found

    def await_steps(self, stage: str, steps: int) -> psutil.Process:
        """The batch script of a stage that has trained so far."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            lines = [
                line
                for path in self.folder.glob(f"runs/tiny/{stage}/*/metrics.jsonl")
                for line in path.read_text().splitlines()
            ]
            if len(lines) >= steps:
                return psutil.Process(int((self.job(stage) / "batch").read_text()))
            time.sleep(0.05)
        raise AssertionError(self.log(stage) if (self.job(stage) / "log").exists() else f"{stage} never began")


def write_two_machines(folder: Path) -> None:
    """The shipped configuration for several machines, for one process on each of two and without sharding."""
    shipped = yaml.safe_load((PROJECT / "recipes" / "accelerate" / "fsdp2-multinode.yaml").read_text())
    ours = {"distributed_type": "MULTI_GPU", "mixed_precision": "no", "num_processes": 2}
    ours |= {key: value for key, value in shipped.items() if key not in {*ours, "fsdp_config"}}
    (folder / "two-machines.yaml").write_text(yaml.safe_dump(ours))


def chain_recipe(values: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Every stage; training on two nodes of one process each."""
    launch = {"nodes": 2, "processes": 2, "accelerate": "two-machines.yaml"}
    by_heart = {
        "batch": 2,
        "micro_batch": 1,
        "data": {"tasks": 1, "solutions_per_task": 1},
        "optimizer": {"name": "muon", "learning_rate_rest": 1e-2},
        "training": {"max_steps": 100, "save_steps": 10, "logging_steps": 5},
    }
    grpo = {"training": {"max_steps": 6, "save_steps": 1}}
    synth = {"candidates_per_task": 4, "inputs_per_task": 5}
    splits = {
        "solved": {"use": "sft", "tasks": 14, "depth": [1]},
        "unsolved": {"use": "rl", "tasks": 8, "depth": [1]},
        "held": {"use": "evaluation", "tasks": 4, "depth": [1]},
    }
    return {
        **values("sft", **by_heart, launch=launch),
        "grpo": values("grpo", **grpo, launch=launch)["grpo"],
        "judge": {"workers": 2},
        "synth": {**synth, "splits": splits},
        "evaluation": {"models": ["rl"], "samples": 2, "k": [1, 2], "sampling": {"max_new_tokens": 120}},
    }


@pytest.mark.slow
def test_a_chain_of_jobs_goes_on_after_a_time_limit_and_a_lost_node_to_the_result_of_an_undisturbed_one(
    tmp_path: Path, recipe_values: Callable[..., dict[str, Any]], weights: Callable[[Path], dict[str, torch.Tensor]]
) -> None:
    recipe = chain_recipe(recipe_values)
    whole, shaken = Cluster(tmp_path / "whole"), Cluster(tmp_path / "shaken")
    assert whole.submit(recipe).wait(timeout=SECONDS) == 0
    assert (whole.job("report") / "status").read_text() == "0\n", whole.log("synth") + whole.log("sft")

    script = shaken.submit(recipe)
    shaken.await_steps("sft", 8).send_signal(signal.SIGUSR1)  # `--signal=B:USR1@120`: two minutes are left
    batch = shaken.await_steps("grpo", 2)
    (shaken.job("grpo") / "requeued").touch()  # `--requeue`: so does Slurm with the job of a node that failed
    for process in [*batch.children(recursive=True), batch]:
        process.kill()
    assert script.wait(timeout=SECONDS) == 0

    for cluster in (whole, shaken):
        assert [(cluster.job(stage) / "status").read_text().strip() for stage in STAGES] == ["0"] * len(STAGES)
        assert "on 2 process(es)" in cluster.log("sft")
        for stage in ("sft", "grpo"):  # every process keeps the state of its own random numbers
            kept = {path.name for path in cluster.result(stage).glob("checkpoints/*/rng_state*")}
            assert kept == {"rng_state_0.pth", "rng_state_1.pth"}
    starts = {stage: int((shaken.job(stage) / "starts").read_text()) for stage in STAGES}
    assert starts == {**dict.fromkeys(STAGES, 1), "sft": 2, "grpo": 2}
    assert "interrupted; the same command continues" in shaken.log("sft")

    for stage in ("sft", "grpo"):
        one, other = (weights(cluster.result(stage) / "model") for cluster in (whole, shaken))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    moved = weights(whole.result("grpo") / "model"), weights(whole.result("sft") / "model")
    assert not all(torch.equal(moved[0][name], moved[1][name]) for name in moved[0]), "no rollout taught anything"
    assert _samples(whole) == _samples(shaken)


def _samples(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """Of every model, and the verdict on each; without what they took."""
    folders = sorted((cluster.folder / "runs" / "tiny" / "evaluation").glob("*-*"))
    assert len(folders) == 1
    return {folder.name: read_table(folder / "samples.parquet").to_pylist() for folder in folders}
