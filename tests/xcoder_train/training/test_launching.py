"""Several processes, really started: how many there are, and that they train what one process trains."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
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
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="DeepSpeed is not installed: pip install '.[deepspeed]'"
)


def _write(folder: Path, synthesis: Path, values: dict[str, Any]) -> Path:
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": {"synth": str(synthesis)}}))
    return recipe


def _run(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    # Compiling DeepSpeed's Adam calls ninja by its name, which is installed beside this interpreter.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=600, check=False
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


def _run_sharded(configuration: str, recipe: Path) -> None:
    """The stage on two processes, sharded as the shipped file says; each has seen that it holds half of the model."""
    script = "zero_on_cpu.py" if configuration.startswith("zero3") else "sharded_on_cpu.py"
    started = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(Path(__file__).with_name(script)))
    said = _run(*started, str(ACCELERATE / configuration), str(recipe))
    assert "on 2 process(es)" in said and "sharded on" in said


SHARDED = [
    "fsdp2.yaml",
    pytest.param("zero3.yaml", marks=needs_deepspeed),
]


@pytest.mark.parametrize("configuration", SHARDED)
def test_a_sharded_model_is_saved_whole_and_loads_in_one_process(
    configuration: str,
    alone: Path,
    tmp_path: Path,
    synthesis: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    recipe = _write(tmp_path / "sharded", synthesis, recipe_values("sft", training=TRAINING))
    _run_sharded(configuration, recipe)
    _is_the_model_of_one_process(_model(tmp_path / "sharded"), alone, weights)


@pytest.mark.parametrize("configuration", SHARDED)
def test_adapters_above_a_sharded_model_are_merged_into_the_model_of_one_process(
    configuration: str, tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    values = recipe_values("sft", training=TRAINING, lora={"rank": 4, "alpha": 8})
    _run("xcoder_train.cli", "sft", str(_write(tmp_path / "alone", synthesis, values)))
    _run_sharded(configuration, _write(tmp_path / "sharded", synthesis, values))
    alone, sharded = _model(tmp_path / "alone"), _model(tmp_path / "sharded")
    assert _apart(weights(alone), weights(alone.parent / "base")) > 1e-3
    assert weights(alone).keys() == weights(sharded).keys()
    assert _apart(weights(alone), weights(sharded)) < 1e-5


@pytest.mark.parametrize(
    ("configuration", "optimizer", "apart"),
    [
        ("fsdp2.yaml", {"name": "muon", "learning_rate_rest": 3e-2}, 0.0),
        pytest.param("zero3.yaml", {}, 0.0, marks=needs_deepspeed),
        # DeepSpeed's Adam on the CPU multiplies bias corrections up step by step, and after a restart takes a power.
        pytest.param("zero3-offload.yaml", {}, 1e-6, marks=needs_deepspeed),
    ],
    ids=["fsdp2-muon", "zero3-adamw", "zero3-offload-adamw"],
)
def test_a_sharded_training_goes_on_as_if_never_stopped(
    configuration: str,
    optimizer: dict[str, Any],
    apart: float,
    tmp_path: Path,
    synthesis: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    recipe = _write(tmp_path / "sharded", synthesis, recipe_values("sft", optimizer=optimizer))
    _run_sharded(configuration, recipe)
    result = _model(tmp_path / "sharded").parent
    shutil.move(result / "model", tmp_path / "whole")
    (result / "stage.json").unlink()
    (result / "checkpoints" / "checkpoint-6" / "trainer_state.json").unlink()  # as a kill leaves it while it is written
    _run_sharded(configuration, recipe)
    assert _apart(weights(tmp_path / "whole"), weights(result / "model")) <= apart


@needs_deepspeed
def test_states_in_host_memory_are_stepped_to_the_same_weights(
    tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    """With DeepSpeed's own Adam on the CPU, which is compiled where it was not before: some minutes."""
    for name in ("zero3", "zero3-offload"):
        _run_sharded(f"{name}.yaml", _write(tmp_path / name, synthesis, recipe_values("sft")))
    device, host = (_model(tmp_path / name) for name in ("zero3", "zero3-offload"))
    assert _apart(weights(device), weights(host)) < 1e-5
    assert _apart(weights(device), weights(device.parent / "base")) > 1e-2


def _is_the_model_of_one_process(saved: Path, alone: Path, weights: Weights) -> None:
    from transformers import AutoModelForCausalLM

    assert _apart(weights(alone), weights(saved)) < 1e-5
    one, other = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (alone, saved))
    assert one.dtype == other.dtype == torch.float32
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        assert torch.allclose(one(ids).logits, other(ids).logits, atol=1e-4)
