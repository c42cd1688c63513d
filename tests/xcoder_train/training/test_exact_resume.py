"""A stage that is stopped goes on to the last bit: over two processes, and through ten kills at random moments."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.xcoder_train.training.two_processes import PROJECT, run_on_two_processes
from xcoder_train.core.records import read_table

Weights = Callable[[Path], dict[str, torch.Tensor]]
KILLS = 10


def _metrics(folder: Path) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "step_time", "judge/seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


def _recipe_file(folder: Path, values: dict[str, Any], **inputs: Path) -> Path:
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    given = {name: str(path) for name, path in inputs.items()}
    recipe.write_text(
        yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": given, "judge": {"workers": 1}})
    )
    return recipe


def _result(folder: Path, stage: str) -> Path:
    (result,) = (folder / "runs" / "tiny" / stage).iterdir()
    return result


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


CHANGED: dict[str, dict[str, Any]] = {
    # Both meet every row again before they end, and are stopped in their second epoch.
    "sft": {"batch": 4, "micro_batch": 1, "data": {"tasks": 3, "solutions_per_task": 2}},
    "grpo": {
        "prompts_per_step": 3,
        "micro_batch": 2,
        "curriculum": {"samples": 2, "drop_unsolved": False, "mixing": 0.5},
        "evaluation": {"every_steps": 2, "tasks": 3, "samples": 2},
        "training": {"save_steps": 1},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_two_processes_go_on_to_the_last_bit(
    stage: str,
    tmp_path: Path,
    synthesis: Path,
    by_heart: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    changed = {**CHANGED[stage], "launch": {"processes": 2}}
    inputs = {"synth": synthesis, **({"sft": by_heart} if stage == "grpo" else {})}
    recipe = _recipe_file(tmp_path / "run", recipe_values(stage, **changed), **inputs)
    run_on_two_processes(f"xcoder_train.{stage}", str(recipe))
    folder = _result(tmp_path / "run", stage)
    shutil.copytree(folder, tmp_path / "whole")
    figures = json.loads((folder / "stage.json").read_text())

    for left in ("model", "stage.json"):
        (shutil.rmtree if (folder / left).is_dir() else os.remove)(folder / left)
    newest = max(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    (newest / "trainer_state.json").unlink()  # as a kill leaves it that comes while it is written
    run_on_two_processes(f"xcoder_train.{stage}", str(recipe))
    assert _same(weights(folder / "model"), weights(tmp_path / "whole" / "model"))
    assert _metrics(folder) == _metrics(tmp_path / "whole")
    again = json.loads((folder / "stage.json").read_text())
    assert again | {"training_seconds": 0} == figures | {"training_seconds": 0}


def _start(stage: str, recipe: Path, errors: Path) -> "subprocess.Popen[bytes]":
    module = "xcoder_train.evaluate" if stage == "evaluation" else f"xcoder_train.{stage}"
    with errors.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(recipe)],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )


def _bytes_written(folder: Path) -> int:
    """All that a stage has left so far; a file that goes while it is looked at counts for nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _kill_at_random(stage: str, recipe: Path, chance: random.Random) -> bool:
    """Start the stage and kill it a while after it went on writing. False where it ended before."""
    folder, errors = recipe.parent / "runs", recipe.parent / "errors"
    process = _start(stage, recipe, errors)
    try:
        before = _bytes_written(folder)
        while process.poll() is None and _bytes_written(folder) == before:
            time.sleep(0.02)
        until = time.monotonic() + chance.uniform(0, 3)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        was_running = process.poll() is None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert was_running or process.returncode == 0, errors.read_text()
    return was_running


RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"training": {"max_steps": 150, "save_steps": 2}},
    "grpo": {"training": {"max_steps": 40, "save_steps": 1}},
}
EVALUATION = {
    "benchmarks": ["heldout"],
    "models": ["sft"],
    "samples": 24,
    "k": [1, 4],
    "sampling": {"max_new_tokens": 120, "temperature": 1.0},
    "generation": {"batch_size": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo", "evaluation"])
def test_ten_kills_at_random_moments_change_nothing(
    stage: str,
    tmp_path: Path,
    synthesis: Path,
    by_heart: Path,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    if stage == "evaluation":
        values: dict[str, Any] = {"name": "tiny", "seed": 5, "evaluation": EVALUATION}
    else:
        values = recipe_values(stage, **RECIPES[stage])
    inputs = {"synth": synthesis, **({} if stage == "sft" else {"sft": by_heart})}
    whole, killed = (_recipe_file(tmp_path / name, values, **inputs) for name in ("whole", "killed"))
    assert _start(stage, whole, tmp_path / "errors").wait(timeout=280) == 0, (tmp_path / "errors").read_text()
    chance = random.Random(stage)
    kills = sum(_kill_at_random(stage, killed, chance) for _ in range(KILLS))
    assert _start(stage, killed, tmp_path / "errors").wait(timeout=280) == 0, (tmp_path / "errors").read_text()
    assert kills == KILLS, "the stage ended before ten kills: make it longer"

    if stage == "evaluation":
        left = [sorted((path / "runs").rglob("*.parquet")) for path in (tmp_path / "whole", tmp_path / "killed")]
        assert [path.name for path in left[0]] == [path.name for path in left[1]] != []
        for one, other in zip(*left, strict=True):
            assert _untimed(read_table(one)) == _untimed(read_table(other))
        return
    one, other = _result(tmp_path / "whole", stage), _result(tmp_path / "killed", stage)
    assert _same(weights(one / "model"), weights(other / "model"))
    assert _metrics(one) == _metrics(other)


def _untimed(table: Any) -> list[dict[str, Any]]:
    """Rows without what they took."""
    return table.select([name for name in table.column_names if "seconds" not in name]).to_pylist()
