"""Several processes, really started: how many there are, and that they train what one process trains."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
ACCELERATE = PROJECT / "recipes" / "accelerate"
# Plain gradient descent: Adam would make steps of the noise in gradients that are all but zero.
TRAINING = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "max_steps": 3}
Weights = Callable[[Path], dict[str, torch.Tensor]]


def _write(folder: Path, synthesis: Path, values: dict[str, Any]) -> Path:
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": {"synth": str(synthesis)}}))
    return recipe


def _run(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def _model(folder: Path) -> Path:
    return next(folder.glob("runs/tiny/sft/*/model"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, synthesis: Path, recipe_values: Callable[..., Any]) -> Path:
    """The model of one process, through the shipped configuration for it."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    values = recipe_values("sft", training=TRAINING, launch={"accelerate": str(ACCELERATE / "cpu.yaml")})
    assert "on 1 process(es)" in _run("xcoder_train.cli", "sft", str(_write(folder, synthesis, values)))
    return _model(folder)


def _apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_two_data_parallel_processes_train_what_one_trains(
    alone: Path, tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    values = recipe_values("sft", training=TRAINING, launch={"processes": 2})
    assert "on 2 process(es)" in _run("xcoder_train.cli", "sft", str(_write(tmp_path / "two", synthesis, values)))
    assert _apart(weights(alone), weights(_model(tmp_path / "two"))) < 1e-5
    assert _apart(weights(alone), weights(alone.parent / "base")) > 1e-2


def test_a_model_sharded_by_zero3_is_saved_whole_and_loads_in_one_process(
    alone: Path, tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'xcoder-train[deepspeed]'")
    recipe = _write(tmp_path / "sharded", synthesis, recipe_values("sft", training=TRAINING))
    script = str(Path(__file__).with_name("zero_on_cpu.py"))
    started = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", script)
    said = _run(*started, str(ACCELERATE / "zero3.yaml"), str(recipe))
    assert "on 2 process(es)" in said and "sharded on 0" in said and "sharded on 1" in said
    _is_the_model_of_one_process(_model(tmp_path / "sharded"), alone, weights)


def test_a_model_sharded_by_fsdp2_is_saved_whole_and_loads_in_one_process(
    alone: Path, tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    recipe = _write(tmp_path / "sharded", synthesis, recipe_values("sft", training=TRAINING))
    script = str(Path(__file__).with_name("sharded_on_cpu.py"))
    started = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", script)
    said = _run(*started, str(ACCELERATE / "fsdp2.yaml"), str(recipe))
    assert "on 2 process(es)" in said and "sharded on 0" in said and "sharded on 1" in said
    _is_the_model_of_one_process(_model(tmp_path / "sharded"), alone, weights)


def _is_the_model_of_one_process(saved: Path, alone: Path, weights: Weights) -> None:
    from transformers import AutoModelForCausalLM

    assert _apart(weights(alone), weights(saved)) < 1e-5
    one, other = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (alone, saved))
    assert one.dtype == other.dtype == torch.float32
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        assert torch.allclose(one(ids).logits, other(ids).logits, atol=1e-4)
