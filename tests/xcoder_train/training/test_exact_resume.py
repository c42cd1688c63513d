"""A stage that is stopped goes on to the last bit: over two processes, and through ten kills at random instants."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_core.records import read_table
from xcoder_train.runs.stage import main

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
    if stage == "grpo":
        assert main(["rates", str(recipe)]) == 0
    run_on_two_processes(f"xcoder_train.{stage}", str(recipe))
    folder = _result(tmp_path / "run", stage)
    shutil.copytree(folder, tmp_path / "whole")
    figures = _timeless(folder / "stage.json")

    for left in ("model", "stage.json"):
        (shutil.rmtree if (folder / left).is_dir() else os.remove)(folder / left)
    newest = max(folder.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    (newest / "trainer_state.json").unlink()  # as a kill leaves it that comes while it is written
    run_on_two_processes(f"xcoder_train.{stage}", str(recipe))
    assert _same(weights(folder / "model"), weights(tmp_path / "whole" / "model"))
    assert _metrics(folder) == _metrics(tmp_path / "whole")
    assert _timeless(folder / "stage.json") == figures


def _timeless(result: Path) -> dict[str, Any]:
    """The figures of a stage that do not depend on how fast the machine was."""
    figures = json.loads(result.read_text())
    return {name: value for name, value in figures.items() if not name.endswith(("seconds", "per_second", "mfu"))}


def _work(stage: str, recipe: Path, errors: Path) -> None:
    """What a process of the stage does; it leads its process group, so that a kill takes its judge along."""
    os.setsid()
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main([stage, str(recipe)]))


class Stage:
    """Starts a stage again and again as processes of their own, forked from one that has imported what it needs.

    Clocks are the processor time of the stage's first process, so that a busy machine moves no instant.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([f"xcoder_train.{name}.train", "trl", "peft", "accelerate.state"])

    def start(self, recipe: Path) -> Any:
        """A process that works on the recipe."""
        process = self.context.Process(target=_work, args=(self.name, recipe, recipe.parent / "errors"))
        process.start()
        while process.is_alive() and os.getpgid(process.pid) != process.pid:
            time.sleep(0.001)  # it cannot be killed with its judge before
        return process

    def run(self, recipe: Path) -> tuple[float, float]:
        """To the end. Returns the seconds until its work first showed in its folder, and in all."""
        process, first, spent = self.start(recipe), 0.0, 0.0
        while process.is_alive():
            spent = _processor_seconds(process.pid) or spent
            first = first or (spent if self._last_work(recipe) else 0.0)
            time.sleep(0.01)
        assert process.exitcode == 0, (recipe.parent / "errors").read_text()
        return first, spent

    def kill(self, recipe: Path, seconds: float, *, at_work: bool) -> bool:
        """Start it and kill it after so long, at work or since its start. False where it ended before."""
        before, begun = self._last_work(recipe), None if at_work else 0.0
        process, spent = self.start(recipe), 0.0
        while process.is_alive() and (begun is None or spent < begun + seconds):
            spent = _processor_seconds(process.pid) or spent
            if begun is None and self._last_work(recipe) != before:
                begun = spent
            time.sleep(0.005)
        was_running = process.is_alive()
        if was_running:
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        assert was_running or process.exitcode == 0, (recipe.parent / "errors").read_text()
        return was_running

    def _last_work(self, recipe: Path) -> int:
        """When it last wrote down work that is done; 0 where there is none yet."""
        files = (path.stat() for path in recipe.parent.glob(FIRST_WORK[self.name]))
        return max((file.st_mtime_ns for file in files if file.st_size), default=0)


def _processor_seconds(pid: int) -> float | None:
    """None for a process that is gone."""
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return None


RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"training": {"max_steps": 64, "save_steps": 2}},
    "grpo": {"training": {"max_steps": 24, "save_steps": 1}},
}
FIRST_WORK = {
    "sft": "runs/tiny/sft/*/metrics.jsonl",
    "grpo": "runs/tiny/grpo/*/metrics.jsonl",
    "evaluation": "runs/tiny/evaluation/**/*.journal",
}
"""Files in which a stage writes down the work that it has done, once it has got through its start."""
EVALUATION = {
    "benchmarks": ["heldout"],
    "models": ["sft"],
    "samples": 16,
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
    recipe_values: Callable[..., Any],
    weights: Weights,
    request: pytest.FixtureRequest,
) -> None:
    if stage == "evaluation":
        values: dict[str, Any] = {"name": "tiny", "seed": 5, "evaluation": EVALUATION}
    else:
        values = recipe_values(stage, **RECIPES[stage])
    inputs = {"synth": synthesis, **({} if stage == "sft" else {"sft": request.getfixturevalue("by_heart")})}
    whole, killed = (_recipe_file(tmp_path / name, values, **inputs) for name in ("whole", "killed"))
    started = Stage(stage)
    first, spent = started.run(whole)
    assert 0 < first < spent
    chance = random.Random(stage)
    for _ in range(KILLS):
        # One in five while it starts. At a sixteenth of the work on average, it is not through after ten kills.
        at_work = chance.random() > 0.2
        seconds = chance.uniform(0, (spent - first) / 8 if at_work else first)
        assert started.kill(killed, seconds, at_work=at_work), "it ended before ten kills: make it longer"
    started.run(killed)

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
