"""Every stage on two processes, or on two nodes of a Ray cluster, through a kill -9: the result of one process.

Each stage starts from the same inputs both times, so that what differs in the last bits of one does not reach the next.
Two processes add their gradients in another order than one does: weights may differ by `WEIGHTS_APART`, and plain
gradient descent keeps it there, where Adam would make whole steps of it. Everything else must be equal.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from tests.xcoder_train.training.two_processes import PROJECT
from xcoder_core.records import read_table

pytestmark = pytest.mark.slow

WEIGHTS_APART = 1e-5
SECONDS = 900
GRADIENT_DESCENT = {"optim": "sgd", "max_grad_norm": 0.0, "logging_steps": 1, "save_steps": 1}
Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """Of a cluster of two nodes with one processor each, and a head without any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 80 << 20}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
        for _ in range(2):
            cluster.add_node(num_cpus=1, wait=False, **small)
        cluster.wait_for_nodes()
        yield cluster.address
        cluster.shutdown()


class Run:
    """One stage of a recipe in a folder of its own."""

    def __init__(self, folder: Path, stage: str, values: dict[str, Any], inputs: dict[str, Path]) -> None:
        self.folder, self.stage = folder, stage
        folder.mkdir()
        given = {name: str(path) for name, path in inputs.items()}
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": given}))

    def start(self, *overrides: str) -> "subprocess.Popen[str]":
        """`xcoder STAGE`, in a process group of its own."""
        command = "eval" if self.stage == "evaluation" else self.stage
        with (self.folder / "said").open("a") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "xcoder_train.cli", command, str(self.recipe), *overrides],
                env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def finish(self, *overrides: str) -> Path:
        """Run to the end; the folder of the result."""
        assert self.start(*overrides).wait(timeout=SECONDS) == 0, (self.folder / "said").read_text()[-5000:]
        (result,) = (path for path in (self.folder / "runs" / "tiny" / self.stage).iterdir() if path.is_dir())
        return result

    def kill_once(self, begun: Callable[[Path], bool], *overrides: str) -> int:
        """Start the stage and kill it and all below it once it has `begun`; how many nodes were judging by then."""
        process = self.start(*overrides)
        deadline = time.monotonic() + SECONDS
        while not begun(self.folder / "runs" / "tiny"):
            assert process.poll() is None and time.monotonic() < deadline, (self.folder / "said").read_text()[-5000:]
            time.sleep(0.01)
        nodes = _judging_nodes()
        below = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        for each in below:
            each.kill()
        process.wait()
        psutil.wait_procs(below, timeout=10)
        while _judging_nodes():  # Ray takes half a minute to end the actors of a process that was killed
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return nodes


def _judging_nodes() -> int:
    """Actors that judge on the nodes of our cluster, which are processes below this one."""
    count = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            count += "NodeJudge" in " ".join(process.cmdline())
    return count


def _has_bytes(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any(path.stat().st_size for path in folder.glob(pattern))


def _has_lines(stage: str, count: int) -> Callable[[Path], bool]:
    def begun(folder: Path) -> bool:
        return any(len(path.read_text().splitlines()) >= count for path in folder.glob(f"{stage}/*/metrics.jsonl"))

    return begun


def _apart(one: Path, other: Path, weights: Callable[[Path], dict[str, torch.Tensor]]) -> float:
    ours, theirs = weights(one / "model"), weights(other / "model")
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def _has_two_ranks(result: Path) -> bool:
    """Every process of a training keeps the state of its own random numbers beside the checkpoint."""
    return {path.name for path in result.glob("checkpoints/*/rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
        if path.parent.name != "timings"
    }


def test_synthesis_on_two_nodes_leaves_the_bytes_of_one_machine(tmp_path: Path, ray_address: str) -> None:
    splits = {
        "solved": {"use": "sft", "tasks": 16},
        "unsolved": {"use": "rl", "tasks": 8},
        "held": {"use": "evaluation", "tasks": 8},
    }
    synth = {"splits": splits, "candidates_per_task": 4, "inputs_per_task": 5}
    values = {"name": "tiny", "seed": 5, "judge": {"ray_address": ray_address}, "synth": synth}
    alone = Run(tmp_path / "alone", "synth", values, {}).finish()
    run = Run(tmp_path / "two", "synth", values, {})
    begun = _has_bytes("synth/*/work/executions.journal")
    assert run.kill_once(begun, "synth.executor=ray") == 2
    together = run.finish("synth.executor=ray")
    assert _digests(together) == _digests(alone) != {}
    assert together.name == alone.name, "where programs run must not make a result another one"


def test_sft_on_two_processes_trains_what_one_trains(
    tmp_path: Path, synthesis: Path, recipe_values: Make, weights: Callable[[Path], dict[str, torch.Tensor]]
) -> None:
    values = recipe_values("sft", micro_batch=2, training={**GRADIENT_DESCENT, "learning_rate": 1.0, "max_steps": 8})
    alone = Run(tmp_path / "alone", "sft", values, {"synth": synthesis}).finish()
    run = Run(tmp_path / "two", "sft", values, {"synth": synthesis})
    run.kill_once(_has_lines("sft", 3), "sft.launch.processes=2")
    together = run.finish("sft.launch.processes=2")
    assert "on 2 process(es)" in (run.folder / "said").read_text() and _has_two_ranks(together)
    assert together.name == alone.name
    moved = weights(alone / "model"), weights(alone / "base")
    assert max(float((moved[0][name] - moved[1][name]).abs().max()) for name in moved[0]) > 1e3 * WEIGHTS_APART
    assert _apart(together, alone, weights) < WEIGHTS_APART


def test_grpo_on_two_processes_and_two_judging_nodes_draws_and_learns_what_one_process_does(
    tmp_path: Path,
    ray_address: str,
    synthesis: Path,
    by_heart: Path,
    recipe_values: Make,
    weights: Callable[[Path], dict[str, torch.Tensor]],
) -> None:
    training = {**GRADIENT_DESCENT, "learning_rate": 0.05, "max_steps": 4}
    values = {**recipe_values("grpo", training=training), "judge": {"ray_address": ray_address}}
    inputs = {"synth": synthesis, "sft": by_heart}
    alone = Run(tmp_path / "alone", "grpo", values, inputs).finish()
    run = Run(tmp_path / "two", "grpo", values, inputs)
    on_two = ("grpo.launch.processes=2", "judge.executor=ray")
    assert run.kill_once(_has_lines("grpo", 2), *on_two) == 4  # each process has an actor on each node
    together = run.finish(*on_two)
    assert _has_two_ranks(together) and together.name == alone.name
    assert _rollouts(together) == _rollouts(alone)
    assert _apart(together, alone, weights) < WEIGHTS_APART
    assert _apart(alone, by_heart, weights) > 10 * WEIGHTS_APART


def _rollouts(result: Path) -> list[tuple[Any, ...]]:
    """Step, text, reward and verdict of every rollout."""
    tables = [read_table(path).to_pylist() for path in sorted((result / "checkpoints").rglob("completions*.parquet"))]
    rows = [row for table in tables for row in table]
    assert rows
    return sorted((row["step"], str(row["completion"]), row["judged"], row["verdict"]) for row in rows)


def test_pass_rates_on_two_processes_and_two_judging_nodes_are_those_of_one(
    tmp_path: Path, ray_address: str, synthesis: Path, by_heart: Path, recipe_values: Make
) -> None:
    curriculum = {"samples": 12, "generation": {"batch_size": 2}}
    values = {**recipe_values("grpo", curriculum=curriculum), "judge": {"ray_address": ray_address}}
    inputs = {"synth": synthesis, "sft": by_heart}
    alone = Run(tmp_path / "alone", "rates", values, inputs).finish()
    run = Run(tmp_path / "two", "rates", values, inputs)
    on_two = ("grpo.curriculum.launch.processes=2", "judge.executor=ray")
    run.kill_once(_has_bytes("rates/*/samples-1-of-2.journal"), *on_two)
    together = run.finish(*on_two)
    assert together.name == alone.name
    for table in ("samples", "verdicts", "pass_rates"):
        assert read_table(together / f"{table}.parquet").equals(read_table(alone / f"{table}.parquet"))
    assert not list(together.glob("*-of-*"))


def test_evaluation_on_two_processes_and_two_judging_nodes_has_the_samples_and_scores_of_one(
    tmp_path: Path, ray_address: str, synthesis: Path, by_heart: Path
) -> None:
    evaluation = {
        "models": ["sft"],
        "samples": 6,
        "k": [1, 4],
        "sampling": {"max_new_tokens": 120, "temperature": 1.0},
        "generation": {"batch_size": 2},
    }
    values = {"name": "tiny", "seed": 5, "judge": {"ray_address": ray_address}, "evaluation": evaluation}
    inputs = {"synth": synthesis, "sft": by_heart}
    alone = Run(tmp_path / "alone", "evaluation", values, inputs).finish()
    run = Run(tmp_path / "two", "evaluation", values, inputs)
    on_two = ("evaluation.launch.processes=2", "judge.executor=ray")
    run.kill_once(_has_bytes("evaluation/*/samples-1-of-2.journal"), *on_two)
    together = run.finish(*on_two)
    assert together.name == alone.name
    for table in ("samples", "verdicts", "counts"):
        assert read_table(together / f"{table}.parquet").equals(read_table(alone / f"{table}.parquet"))
    scores = [json.loads((result / "scores.json").read_text())["benchmarks"] for result in (together, alone)]
    assert scores[0] == scores[1]
    assert not list(together.glob("*-of-*"))
