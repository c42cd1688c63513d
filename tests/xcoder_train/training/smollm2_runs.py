"""Stages on SmolLM2: started, killed, resumed, spread over two processes, and what they left compared."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.xcoder_train.training import smollm2
from xcoder_core.records import read_table
from xcoder_train.sft.data import IGNORED

TWO_PROCESSES_APART = 1e-6
"""They add their gradients in another order than one does."""


class Trained:
    """A finished stage: its folder, its figures, its steps, and the logits that the trainer had on `ids`."""

    def __init__(self, folder: Path, recipe: Any, logits: torch.Tensor) -> None:
        self.folder, self.recipe, self.logits = folder, recipe, logits
        self.figures = json.loads((folder / "stage.json").read_text())
        self.steps = steps_of(folder)


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(1000, 1040)[None]).logits.float()


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def loss_of(model: Any, examples: list[dict[str, Any]]) -> float:
    """The mean over all learned tokens, one example at a time, by a plain forward pass."""
    total, learned = 0.0, 0
    with torch.no_grad():
        for example in examples:
            logits = model.eval()(torch.tensor(example["input_ids"])[None]).logits[0, :-1].float()
            labels = torch.tensor(example["labels"])[1:]
            total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
            learned += int((labels != IGNORED).sum())
    return total / learned


def command(folder: Path, name: str, recipe: dict[str, Any], inputs: dict[str, Path]) -> list[str]:
    folder.mkdir(exist_ok=True)
    given = {key: str(path) for key, path in inputs.items()}
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({**recipe, "runs_dir": str(folder / "runs"), "inputs": given}))
    return [sys.executable, "-m", "xcoder_train.cli", name, str(file)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(smollm2.PROJECT), "OMP_NUM_THREADS": "1"}


def killed_and_resumed(folder: Path, name: str, recipe: dict[str, Any], inputs: dict[str, Path]) -> Path:
    """The result of a stage that is killed once its first checkpoint is whole, and started again."""
    run = command(folder, name, recipe, inputs)
    with open(folder / "said", "w") as said:
        killed = subprocess.Popen(run, env=environment(), stdout=said, stderr=said, start_new_session=True)
        try:
            while not list(folder.glob(f"runs/smol/{name}/*/checkpoints/checkpoint-1/trainer_state.json")):
                assert killed.poll() is None, (folder / "said").read_text()
                time.sleep(0.01)
        finally:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
        assert not list(folder.glob(f"runs/smol/{name}/*/stage.json"))
        subprocess.run(run, env=environment(), stdout=said, stderr=said, check=True)
    (ended,) = folder.glob(f"runs/smol/{name}/*/stage.json")
    return ended.parent


def ended_on_two(folder: Path, name: str, recipe: dict[str, Any], inputs: dict[str, Path]) -> Path:
    """The result of a stage on two processes."""
    run = command(folder, name, recipe, inputs)
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    (ended,) = folder.glob(f"runs/smol/{name}/*/stage.json")
    # Each process keeps the state of its random numbers in a checkpoint.
    assert len(list(ended.parent.glob("checkpoints/checkpoint-2/rng_state_*.pth"))) == 2
    return ended.parent


def steps_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "grad_norm" in line]


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference between two weights of a name."""
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


def assert_one_result(alone: Trained, together: Path, *metrics: str) -> None:
    ours = steps_of(together)
    assert len(ours) == len(alone.steps) == 2
    for line, other in zip(ours, alone.steps, strict=True):
        for name in (*metrics, "grad_norm"):
            print(name, line[name], other[name])
            assert line[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6)
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (together, alone.folder)]
    print("weights apart at most", farthest(*weights))
    assert farthest(*weights) < TWO_PROCESSES_APART


def assert_far(trained: Trained, start: dict[str, torch.Tensor]) -> None:
    moved = farthest(load_file(trained.folder / "model" / "model.safetensors"), start)
    print("weights moved at most", moved)
    assert moved > 100 * TWO_PROCESSES_APART


def drawn(result: Path) -> list[tuple[Any, ...]]:
    """Step, text, reward and verdict of every rollout."""
    rows = [
        row
        for path in sorted((result / "checkpoints").rglob("completions*.parquet"))
        for row in read_table(path).to_pylist()
    ]
    assert rows
    return sorted((row["step"], str(row["completion"]), row["judged"], row["verdict"]) for row in rows)


def same_file(one: Path, other: Path) -> bool:
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
