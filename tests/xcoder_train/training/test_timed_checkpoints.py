"""Checkpoints by time in real trainings: written where training can go on exactly, and by all processes alike."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_train.runs.stage import perform
from xcoder_train.training.checkpoints import TimedCheckpoints

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
AT_ONCE, NEVER = 1e-9, 1e9
BY_TIME_ALONE = {"save_steps": 500, "save_total_limit": 9}


def _checkpoints(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[2]) for path in folder.glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize(("minutes", "expected"), [(AT_ONCE, [1, 2, 3]), (NEVER, [3]), (None, [3])])
def test_sft_writes_a_checkpoint_once_its_minutes_are_over(
    tmp_path: Path, stage: Stage, minutes: float | None, expected: list[int]
) -> None:
    training = {"max_steps": 3, "save_minutes": minutes, **BY_TIME_ALONE}
    perform(*stage("sft", tmp_path, training=training))
    assert _checkpoints(tmp_path) == expected


def test_grpo_writes_one_only_where_its_rollouts_are_used_up_and_goes_on_from_it_to_the_last_bit(
    by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    training = {"max_steps": 4, "num_iterations": 2, "save_minutes": AT_ONCE, **BY_TIME_ALONE}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    perform(*stage("grpo", whole, {"sft": by_heart}, training=training))
    assert _checkpoints(whole) == [2, 4]  # not 1 and 3, in the middle of a set
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("model", "stage.json", "checkpoint-4"))
    perform(*stage("grpo", killed, {"sft": by_heart}, training={**training, "save_minutes": NEVER}))
    one, other = weights(killed / "model"), weights(whole / "model")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_minutes_are_counted_from_the_last_checkpoint_whatever_asked_for_it() -> None:
    callback = TimedCheckpoints(AT_ONCE)
    state, control = TrainerState(global_step=1), TrainerControl()
    callback.on_step_end(None, state, control)  # type: ignore[arg-type]
    assert control.should_save
    callback.minutes = 60.0
    callback.on_save(None, state)  # type: ignore[arg-type]
    control.should_save = False
    callback.on_step_end(None, state, control)  # type: ignore[arg-type]
    assert not control.should_save
    control.should_save = True  # by its number
    callback.on_step_end(None, state, control)  # type: ignore[arg-type]
    assert control.should_save


@pytest.mark.slow
def test_the_clock_of_the_first_process_decides_for_all() -> None:
    said = run_on_two_processes("tests.xcoder_train.training.timed_on_two", str(AT_ONCE), str(NEVER))
    assert sorted(json.loads(line) for line in said.splitlines()) == [[0, [True, False]], [1, [True, False]]]


def test_what_a_set_left_over_is_found_again_where_checkpoints_come_by_time(
    by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    """Groups are collected every second step; those of earlier sets are sealed at the checkpoints in between."""
    changed: dict[str, Any] = {
        "updates_per_rollouts": 2,
        "dynamic_sampling": {"rounds": 4, "oversample": 2.0},
        "keep_rollouts": True,
        "training": {"learning_rate": 3e-3, "max_steps": 8, "save_minutes": AT_ONCE, **BY_TIME_ALONE},
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    perform(*stage("grpo", whole, {"sft": by_heart}, **changed))
    assert _checkpoints(whole) == [2, 4, 6, 8]
    states = {step: whole / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json" for step in (2, 4, 6)}
    callbacks = {step: json.loads(file.read_text())["stateful_callbacks"] for step, file in states.items()}
    last = max(step for step, kept in callbacks.items() if kept["Groups"]["attributes"]["surplus"])
    later = [name for step in range(last, 9) for name in (f"checkpoint-{step + 1}", f"step-{step:06}-*")]
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("model", "stage.json", *later))
    perform(*stage("grpo", killed, {"sft": by_heart}, **changed))
    one, other = weights(killed / "model"), weights(whole / "model")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
