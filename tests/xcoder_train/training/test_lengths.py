"""The length of rollouts: a schedule by step that a resumed run follows, and truncated rollouts left out of groups."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch

from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
LENGTHS = ((0, 20), (2, 45), (3, 60))
LONGEST = 100


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _rollouts(folder: Path) -> list[dict[str, Any]]:
    tables = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    return [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in rows]


@pytest.fixture(scope="module")
def scheduled(
    tmp_path_factory: pytest.TempPathFactory, by_heart: Path, synthesis: Path, recipe_values: Callable[..., Any]
) -> Path:
    """An uninterrupted GRPO of four steps with checkpoints at 2 and 4, whose rollouts become longer."""
    from xcoder_core.stage import StageContext
    from xcoder_train.recipe.schema import Recipe

    folder = tmp_path_factory.mktemp("scheduled")
    recipe = Recipe.model_validate(recipe_values("grpo", **_changed()))
    inputs = {"synth": synthesis, "sft": by_heart}
    perform(recipe, StageContext("tiny", "grpo", "stagekey", folder, recipe.seed, inputs))
    return folder


def _changed() -> dict[str, Any]:
    return {
        "lengths": LENGTHS,
        "temperature": 3.0,  # almost every rollout reaches its limit
        "reward": {"kind": "paper", "tests": 2, "overlong": {"tokens": 10, "penalty": 1.5}},
        "evaluation": {"every_steps": 4, "tasks": 2, "samples": 2},
    }


def test_rollouts_of_each_step_are_as_long_as_the_schedule_says_and_held_out_ones_as_long_as_ever(
    scheduled: Path,
) -> None:
    lines = _lines(scheduled)
    longest = {line["step"]: line["completions/max_length"] for line in lines if "reward" in line}
    assert longest == {1: 20, 2: 20, 3: 45, 4: 60}  # line 3 is of the step that begins with global step 2
    assert {line["eval_completions/max_length"] for line in lines if "eval_reward" in line} == {LONGEST}


def test_a_rollout_at_the_limit_of_its_step_has_lost_the_whole_penalty(scheduled: Path) -> None:
    without_code = [row["judged"] for row in _rollouts(scheduled) if row["verdict"] in ("no code", "CE")]
    assert len(without_code) > 16 and without_code.count(-2.0 - 1.5) > 8
    assert min(without_code) == -3.5


def test_a_resumed_run_follows_the_schedule_to_the_last_bit(
    scheduled: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(scheduled, folder, ignore=shutil.ignore_patterns("model", "stage.json"))
    (folder / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    perform(*stage("grpo", folder, {"sft": by_heart}, **_changed()))
    one, other = weights(folder / "model"), weights(scheduled / "model")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert _rollouts(folder) == _rollouts(scheduled)


def test_truncated_rollouts_count_in_no_mean_and_no_deviation_where_the_recipe_says_so(
    by_heart: Path, tmp_path: Path, stage: Stage
) -> None:
    """A rollout is cut off where its text reaches the limit; its group's others are compared among themselves."""
    changed = {"max_completion_length": 40, "reward": {"kind": "paper", "tests": 2, "leave_out_truncated": True}}
    training = {"max_steps": 3, "scale_rewards": "group"}
    perform(*stage("grpo", tmp_path, {"sft": by_heart}, rollouts=8, prompts_per_step=3, training=training, **changed))
    groups = defaultdict(list)
    for row in _rollouts(tmp_path):
        groups[row["step"], row["problem_id"]].append(row)
    compared = 0
    for group in groups.values():
        known = [row["judged"] for row in group if row["judged"] == row["judged"] and row["judged"] is not None]
        spread = torch.tensor(known).std().item() + 1e-4 if len(known) > 1 else 1.0
        for row in group:
            is_left_out = row["judged"] is None or row["judged"] != row["judged"]
            expected = 0.0 if is_left_out else (row["judged"] - sum(known) / len(known)) / spread
            assert row["advantage"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        compared += 1 < len(known) < len(group)
    assert compared > 0  # groups with both kinds
    lines = _lines(tmp_path)
    left_out = sum(row["judged"] is None or row["judged"] != row["judged"] for row in _rollouts(tmp_path))
    assert left_out == pytest.approx(sum(line["completions/clipped_ratio"] for line in lines) * 24)
    assert all(line["judge/excluded"] == 0 for line in lines)
    assert json.loads((tmp_path / "stage.json").read_text())["excluded_rollouts"] == 0
