"""The GRPO stage on a tiny model with the real judge: rollouts, rewards, resume, several processes."""

import asyncio
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoTokenizer, TrainerState
from trl import GRPOTrainer

from reward.config import JudgeSettings, RewardSettings
from reward.judge import Judge
from reward.test_table import TestTable
from reward.trl import JudgedReward
from tests.xcoder_train.test_alarms import SOUND
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.models.loading import load_model
from xcoder_core.stage import SynthLayout
from xcoder_train.grpo import mismatch
from xcoder_train.grpo import train as grpo
from xcoder_train.grpo.arguments import grpo_config
from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
PROJECT = Path(__file__).parents[3]


def _metrics(folder: Path) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "step_time", "judge/seconds")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


def _rollouts(folder: Path) -> list[dict[str, Any]]:
    """Every logged rollout, in order of steps."""
    tables = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    return [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in rows]


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture
def finished(finished_grpo: Path) -> Path:
    return finished_grpo


def test_the_stage_leaves_a_trained_model_its_card_and_its_figures(
    finished: Path, synthesis: Path, by_heart: Path, weights: Weights
) -> None:
    assert not _same(weights(finished / "model"), weights(by_heart / "model"))
    figures = json.loads((finished / "stage.json").read_text())
    assert (figures["steps"], figures["rollouts"], figures["excluded_rollouts"]) == (4, 4 * 2 * 4, 0)
    assert figures["judge_tier"] in ("A", "B")
    card = (finished / "model" / "README.md").read_text()
    assert synthesis.name in card and "| rollouts | 32 |" in card and "max_prompt_length: 256" in card
    assert [line["step"] for line in _metrics(finished)] == [1, 2, 3, 4]


def test_every_logged_reward_is_what_the_judge_says_of_that_rollout(
    finished: Path, synthesis: Path, tmp_path: Path
) -> None:
    rollouts = _rollouts(finished)
    assert len(rollouts) == 4 * 8
    table = pyarrow.parquet.read_table(SynthLayout(synthesis).dataset("rl") / "train.parquet")
    problem_of = {row["prompt"][0]["content"]: row["problem_id"] for row in table.to_pylist()}
    tests = TestTable(SynthLayout(synthesis), tmp_path / "tests.arrow", at_most=2, seed=5)
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")

    async def judged(judge: Judge) -> list[float | None]:
        reward = JudgedReward(judge, tests, RewardSettings(), stop_tokens=frozenset(), maximum_excluded_share=0, seed=5)
        return await reward(
            completions=[row["completion"] for row in rollouts],
            completion_ids=[tokenizer.encode(row["completion"][0]["content"]) for row in rollouts],
            problem_id=[problem_of[row["prompt"][0]["content"]] for row in rollouts],
            trainer_state=TrainerState(),
            log_extra=lambda name, values: None,
            log_metric=lambda name, value: None,
        )

    with Judge(JudgeSettings(), workers=2) as judge:
        again = asyncio.run(judged(judge))
    for row, own in zip(rollouts, again, strict=True):
        assert row["judged"] in (own, own - 1.0)  # 1 less for a rollout that was cut off
    assert {row["verdict"] for row in rollouts} > {"no code"}
    assert len({row["judged"] for row in rollouts}) > 1


def test_alarms_look_at_what_a_run_logs(finished: Path) -> None:
    by_vllm = {name for name in SOUND if name.startswith("sampling/")}
    for line in _metrics(finished):
        assert set(SOUND) - by_vllm <= set(line)
    source = inspect.getsource(GRPOTrainer) + inspect.getsource(mismatch)
    assert len(by_vllm) == 2
    assert all(f'"{name}"' in source for name in by_vllm)


def test_rollouts_of_a_group_differ(finished: Path) -> None:
    groups = defaultdict(list)
    for row in _rollouts(finished):
        groups[row["step"], row["prompt"][0]["content"]].append(row["completion"][0]["content"])
    assert len(groups) == 8
    assert all(len(texts) == 4 for texts in groups.values())
    # A sure policy may write the same program four times; shared seeds would make every group alike.
    assert sum(len(set(texts)) > 1 for texts in groups.values()) >= 6


def test_the_same_recipe_draws_the_same_rollouts_and_another_seed_others(
    finished: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    recipe, context = stage("grpo", tmp_path / "again", {"sft": by_heart})
    perform(recipe, context)
    assert _rollouts(tmp_path / "again") == _rollouts(finished)
    assert _same(weights(tmp_path / "again" / "model"), weights(finished / "model"))
    recipe, context = stage("grpo", tmp_path / "other", {"sft": by_heart}, seed=6, training={"max_steps": 1})
    perform(recipe, context)
    first = [row["completion"] for row in _rollouts(finished)[:8]]
    assert [row["completion"] for row in _rollouts(tmp_path / "other")] != first


def test_resumed_equals_uninterrupted_to_the_last_bit(
    finished: Path, by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    folder = tmp_path / "killed"  # as a kill leaves it that comes while the second checkpoint is written
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("model", "stage.json"))
    (folder / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    recipe, context = stage("grpo", folder, {"sft": by_heart})
    perform(recipe, context)
    assert _same(weights(folder / "model"), weights(finished / "model"))
    assert _metrics(folder) == _metrics(finished)
    assert _rollouts(folder) == _rollouts(finished)


def test_a_machine_on_which_nothing_can_be_judged_stops_training(by_heart: Path, tmp_path: Path, stage: Stage) -> None:
    recipe, context = stage(
        "grpo",
        tmp_path,
        {"sft": by_heart},
        prompts_per_step=4,
        rollouts=16,
        micro_batch=64,
        reward={"kind": "fraction", "deadline_seconds": 1e-6},
        maximum_excluded_share=0.01,
    )
    with pytest.raises(InfrastructureError, match="have no reward because judging failed"):
        perform(recipe, context)
    assert not (tmp_path / "stage.json").exists()


def test_rollouts_that_were_not_judged_are_counted_and_not_printed(
    by_heart: Path, tmp_path: Path, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    late = {"kind": "fraction", "deadline_seconds": 1e-6}
    recipe, context = stage(
        "grpo", tmp_path, {"sft": by_heart}, reward=late, maximum_excluded_share=1.0, training={"max_steps": 1}
    )
    perform(recipe, context)
    (line,) = _metrics(tmp_path)
    lost = sum(row["verdict"] == "IE" for row in _rollouts(tmp_path))
    assert 0 < lost == 8 * line["judge/excluded"]
    assert json.loads((tmp_path / "stage.json").read_text())["excluded_rollouts"] == lost
    assert "All reward functions returned None" not in caplog.text


def test_fewer_prompts_than_a_step_needs_are_refused(by_heart: Path, tmp_path: Path, stage: Stage) -> None:
    recipe, context = stage("grpo", tmp_path, {"sft": by_heart}, prompts_per_step=50)
    with pytest.raises(InputError, match="a step of 50 prompts cannot be filled from"):
        perform(recipe, context)


def test_adapters_learn_and_leave_a_merged_model_with_their_logits(
    by_heart: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    recipe, context = stage(
        "grpo",
        tmp_path,
        {"sft": by_heart},
        lora={"rank": 4, "alpha": 8},
        training={"max_steps": 2, "learning_rate": 1.0, "num_iterations": 2},
    )
    perform(recipe, context)
    assert json.loads((tmp_path / "stage.json").read_text())["rollouts"] == 8  # one set for both steps
    merged, before = weights(tmp_path / "model"), weights(by_heart / "model")
    assert merged.keys() == before.keys()
    assert not _same(merged, before)
    base = load_model(by_heart / "model")
    adapted = PeftModel.from_pretrained(base, tmp_path / "checkpoints" / "checkpoint-2").eval()
    evaluated = load_model(tmp_path / "model").eval()  # as evaluation loads it
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
        assert (evaluated(ids).logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_trl_is_told_the_authors_settings_and_vllm_every_stop_token(tmp_path: Path, stage: Stage) -> None:
    given = {"learning_rate": 1e-5, "trl": {"generation_kwargs": {"stop_token_ids": [9], "ignore_eos": False}}}
    recipe, context = stage("grpo", tmp_path, generation="vllm_colocate", training=given)
    told = grpo_config(recipe.grpo, context, 1, frozenset({7, 3}), 0, {})
    assert told.generation_kwargs == {"stop_token_ids": [3, 7, 9], "ignore_eos": False}
    assert (told.vllm_mode, told.vllm_max_model_length, told.learning_rate) == ("colocate", 356, 1e-5)
    recipe, context = stage("grpo", tmp_path, training={"learning_rate": None})
    told = grpo_config(recipe.grpo, context, 1, frozenset({7, 3}), 0, {})
    assert (told.learning_rate, told.epsilon, told.epsilon_high, told.beta) == (4e-7, 0.2, 0.28, 0.0)
    assert (told.loss_type, told.vllm_importance_sampling_mode) == ("dr_grpo", "token_truncate")


def test_lost_rollouts_are_counted_over_all_sets_whether_logged_or_not(tmp_path: Path) -> None:
    lines = [{"step": 2, "judge/excluded": 0.5}, {"step": 2, "eval_reward": 1.0}, {"step": 5, "judge/excluded": 0.25}]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert grpo.sets_excluded(metrics, 1) == 2 * 0.5 + 3 * 0.25
    lines = [{"step": step, **({"judge/excluded": step / 16} if step in (1, 5) else {})} for step in range(1, 9)]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert grpo.sets_excluded(metrics, 4) == 1 / 16 + 5 / 16  # logged with the first of their four steps


def test_two_processes_reward_each_rollout_for_itself_and_draw_different_ones(
    by_heart: Path, synthesis: Path, tmp_path: Path, recipe_values: Callable[..., Any]
) -> None:
    """Both processes work on one group of four: two rollouts each."""
    values = recipe_values(
        "grpo", prompts_per_step=1, micro_batch=2, launch={"processes": 2}, training={"max_steps": 2}
    )
    recipe = tmp_path / "recipe.yaml"
    inputs = {"synth": str(synthesis), "sft": str(by_heart)}
    values = {**values, "runs_dir": str(tmp_path / "runs"), "inputs": inputs, "judge": {"workers": 2}}
    recipe.write_text(yaml.safe_dump(values))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "xcoder_train.grpo", str(recipe)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "tiny" / "grpo").iterdir()
    rollouts = _rollouts(folder)
    assert len(rollouts) == 2 * 4  # one step holds the rollouts of both
    for step in (1, 2):
        group = [row for row in rollouts if row["step"] == step]
        assert len({row["prompt"][0]["content"] for row in group}) == 1
        first, second = ([row["completion"][0]["content"] for row in half] for half in (group[:2], group[2:]))
        assert first != second
        for row in group:
            expected = -2.0 if row["verdict"] in ("no code", "CE") else 5.0 * row["tests_passed"] / 2
            assert row["judged"] in (expected, expected - 1.0)  # 1 less for a rollout that was cut off
    assert json.loads((folder / "stage.json").read_text())["rollouts"] == 8
