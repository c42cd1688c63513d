"""Credit: through groups over two processes, shuffles, lost verdicts and a resume, each rollout keeps its own reward.

The rollouts say in their own text what they are worth, so what reaches the loss can be held against it.
"""

import json
import re
import shutil
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from tests.xcoder_train.training.credit_run import (
    GROUP,
    LOST,
    PROMPTS_PER_STEP,
    STEPS,
    completion_for,
    problem_number,
    train,
    worth,
)
from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_core.errors import InputError
from xcoder_train.grpo.rollout_files import RolloutFiles

RUN = "tests.xcoder_train.training.credit_run"
# Rollouts are ordered by length where their order is free, and shuffled by TRL where it is not.
ORDERS = pytest.mark.parametrize("loss_type", ["dr_grpo", "bnpo"])


def _rows(folder: Path) -> list[dict[str, Any]]:
    """What reached the loss, from every process."""
    return [row for file in sorted(folder.glob("rows-*.json")) for row in json.loads(file.read_text())]


def _reward(prompt: str, completion: str) -> float | None:
    """The reward by the rollout's own words."""
    (name,) = re.findall(r"seed \d+", completion)
    text, cut_off = completion_for(f"problem {problem_number(prompt)}", name)
    assert completion == text
    return worth(prompt, completion, cut_off)


def _reward_unless_cut_off(prompt: str, completion: str) -> float | None:
    """The reward where truncated rollouts are left out of their groups."""
    (name,) = re.findall(r"seed \d+", completion)
    is_cut_off = completion_for(f"problem {problem_number(prompt)}", name)[1]
    return None if is_cut_off else _reward(prompt, completion)


def _check_credit(folder: Path, steps: range, *, scaled: bool = False) -> None:
    """Every rollout once; its advantage is its own reward less the mean of its group's known ones.

    With `scaled` over their deviation; a group with one known reward has none, and teaches nothing.
    """
    rows = _rows(folder)
    assert len(rows) == len({row["completion"] for row in rows}) == len(steps) * PROMPTS_PER_STEP * GROUP
    groups = defaultdict(list)
    for row in rows:
        groups[row["step"], row["prompt"]].append(row)
    assert {step for step, _ in groups} == set(steps)
    for group in groups.values():
        assert len(group) == GROUP
        rewards = [_reward(row["prompt"], row["completion"]) for row in group]
        known = [reward for reward in rewards if reward is not None]
        spread = statistics.stdev(known) + 1e-4 if scaled and len(known) > 1 else 1.0
        for row, reward in zip(group, rewards, strict=True):
            expected = 0.0 if reward is None else (reward - sum(known) / len(known)) / spread
            assert row["advantage"] == pytest.approx(expected, rel=1e-4, abs=1e-5), row
    lost = [row for row in rows if LOST in row["completion"]]
    assert 0 < len(lost) < len(rows) / 2  # the test is about something
    assert len({row["advantage"] for row in rows}) > 5


def _check_tables(folder: Path) -> None:
    """The table of completions shows each rollout's own reward; none where it is lost."""
    tables = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    assert len(rows) == STEPS * PROMPTS_PER_STEP * GROUP
    for row in rows:
        reward = _reward(row["prompt"][0]["content"], row["completion"][0]["content"])
        shown = row["judged"]
        assert (shown is None or shown != shown) if reward is None else shown == pytest.approx(reward)


@pytest.mark.parametrize("loss_type", ["dr_grpo", pytest.param("bnpo", marks=pytest.mark.slow)])
def test_each_rollout_keeps_its_own_reward_to_the_loss(loss_type: str, tmp_path: Path) -> None:
    train(tmp_path / "run", 1, loss_type=loss_type)
    _check_credit(tmp_path / "run", range(1, STEPS + 1))
    _check_tables(tmp_path / "run")


@pytest.mark.parametrize("loss_type", ["dr_grpo", pytest.param("bnpo", marks=pytest.mark.slow)])
def test_each_rollout_keeps_its_own_reward_where_two_updates_share_a_set(loss_type: str, tmp_path: Path) -> None:
    """Groups are compared as wholes, though their rollouts are trained on in either step of the set."""
    train(tmp_path / "run", 1, loss_type=loss_type, updates=2)
    rows = _rows(tmp_path / "run")
    assert len(rows) == len({row["completion"] for row in rows}) == STEPS * PROMPTS_PER_STEP * GROUP
    by_set = defaultdict(list)
    for row in rows:
        by_set[(row["step"] - 1) // 2, row["prompt"]].append(row)
    assert {number for number, _ in by_set} == {0, 1} and len(by_set) == 2 * 2 * PROMPTS_PER_STEP
    for group in by_set.values():
        assert len(group) == GROUP
        rewards = [_reward(row["prompt"], row["completion"]) for row in group]
        known = [reward for reward in rewards if reward is not None]
        for row, reward in zip(group, rewards, strict=True):
            expected = 0.0 if reward is None else reward - sum(known) / len(known)
            assert row["advantage"] == pytest.approx(expected, rel=1e-4, abs=1e-5), row
    assert any(len({row["step"] for row in group}) == 2 for group in by_set.values())
    sizes = [sum(row["step"] == step for row in rows) for step in range(1, STEPS + 1)]
    assert sizes == [PROMPTS_PER_STEP * GROUP] * STEPS


@pytest.mark.slow
def test_rewards_over_their_deviation_leave_out_what_is_lost(tmp_path: Path) -> None:
    train(tmp_path / "run", 1, loss_type="dapo", scale_rewards="group")
    _check_credit(tmp_path / "run", range(1, STEPS + 1), scaled=True)


def test_a_run_that_goes_on_in_its_second_epoch_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    """Six prompts, three a step: the third step begins an epoch, and the run goes on inside it."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(whole, 1, save_steps=1)
    train(resumed, 1, str(whole / "checkpoints" / "checkpoint-3"), save_strategy="no")
    assert _rows(resumed) == [row for row in _rows(whole) if row["step"] > 3]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow
@ORDERS
def test_each_rollout_keeps_its_own_reward_over_two_processes_and_a_resume(loss_type: str, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    run_on_two_processes(RUN, str(whole), "2", "-", f"loss_type={loss_type}")
    _check_credit(whole, range(1, STEPS + 1))
    _check_tables(whole)
    by_rank = defaultdict(set)
    for row in _rows(whole):
        by_rank[row["step"], row["prompt"]].add(row["rank"])
    assert any(len(ranks) == 2 for ranks in by_rank.values())  # a group whose halves are in two processes
    shutil.copytree(whole / "checkpoints" / "checkpoint-2", resumed / "checkpoints" / "checkpoint-2")
    run_on_two_processes(
        RUN, str(resumed), "2", str(resumed / "checkpoints" / "checkpoint-2"), f"loss_type={loss_type}"
    )
    _check_credit(resumed, range(3, STEPS + 1))
    assert _rows(resumed) == [row for row in _rows(whole) if row["step"] > 2]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _logged(folder: Path, name: str) -> list[float]:
    return [line[name] for line in json.loads((folder / "log-0.json").read_text()) if name in line]


def _check_replacement(folder: Path) -> None:
    """No step trains on a group whose rewards are all equal, though a third of the sampled ones are."""
    rewards = defaultdict(set)
    for row in _rows(folder):
        rewards[row["step"], row["prompt"]].add(_reward(row["prompt"], row["completion"]))
    assert all(len(known - {None}) > 1 for known in rewards.values())
    assert sum(_logged(folder, "groups/sampled")) > STEPS * PROMPTS_PER_STEP
    assert 0 < statistics.mean(_logged(folder, "groups/equal_share_sampled")) < 1
    assert set(_logged(folder, "groups/equal_share_trained")) == {0.0}


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_replaced_groups_and_what_is_left_over_go_on_after_a_resume(processes: int, tmp_path: Path) -> None:
    """What is left over after the second step stands in files that the checkpoint refers to."""

    def run(folder: Path, checkpoint: Path | None) -> None:
        dynamic = {"rounds": 6, "oversample": 2.0}
        if processes == 1:
            train(folder, 1, None if checkpoint is None else str(checkpoint), dynamic_sampling=dynamic)
        else:
            given = f"dynamic_sampling={json.dumps(dynamic)}"
            run_on_two_processes(RUN, str(folder), "2", str(checkpoint or "-"), given)

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    run(whole, None)
    _check_credit(whole, range(1, STEPS + 1))
    _check_tables(whole)
    _check_replacement(whole)
    assert max(_logged(whole, "groups/share_of_step_before")) > 0
    shutil.copytree(whole / "checkpoints" / "checkpoint-2", resumed / "checkpoints" / "checkpoint-2")
    shutil.copytree(whole / "rollouts", resumed / "rollouts", ignore=shutil.ignore_patterns("step-*[23]-*"))
    saved = json.loads((resumed / "checkpoints" / "checkpoint-2" / "trainer_state.json").read_text())
    assert saved["stateful_callbacks"]["Groups"]["attributes"]["surplus"]  # the test is about something
    run(resumed, resumed / "checkpoints" / "checkpoint-2")
    assert _rows(resumed) == [row for row in _rows(whole) if row["step"] > 2]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("loss_type", ["dr_grpo", pytest.param("bnpo", marks=pytest.mark.slow)])
def test_two_updates_on_replaced_groups_without_their_truncated_rollouts_go_on_after_a_resume(
    loss_type: str, tmp_path: Path
) -> None:
    """What is cut off counts in no mean and gives no group a signal, and is no failure of the judge."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    changed: dict[str, Any] = {
        "updates": 2,
        "leave_out_truncated": True,
        "dynamic_sampling": {"rounds": 6, "oversample": 2.0},
        "loss_type": loss_type,
    }
    train(whole, 1, **changed)
    rows = _rows(whole)
    assert len(rows) == len({row["completion"] for row in rows}) == STEPS * PROMPTS_PER_STEP * GROUP
    groups = defaultdict(list)
    for row in rows:
        groups[(row["step"] - 1) // 2, row["prompt"]].append(row)
    assert len(groups) == STEPS * PROMPTS_PER_STEP
    left_out = 0
    for group in groups.values():
        rewards = [_reward_unless_cut_off(row["prompt"], row["completion"]) for row in group]
        known = [reward for reward in rewards if reward is not None]
        assert len(group) == GROUP and len(set(known)) > 1
        for row, reward in zip(group, rewards, strict=True):
            expected = 0.0 if reward is None else reward - sum(known) / len(known)
            assert row["advantage"] == pytest.approx(expected, rel=1e-4, abs=1e-5), row
        left_out += rewards.count(None)
    lost = sum(LOST in row["completion"] for row in rows)
    excluded = _logged(whole, "judge/excluded")
    assert sum(excluded) * 2 * PROMPTS_PER_STEP * GROUP == pytest.approx(lost) and len(excluded) == 2
    assert 0 < lost < left_out
    assert max(_logged(whole, "groups/share_of_step_before")) > 0
    stored = [one.worth for one in RolloutFiles(whole / "rollouts").of_step(0).values()]
    assert any(one.left_out and one.reward is not None for one in stored)

    shutil.copytree(whole / "checkpoints" / "checkpoint-2", resumed / "checkpoints" / "checkpoint-2")
    shutil.copytree(whole / "rollouts", resumed / "rollouts", ignore=shutil.ignore_patterns("step-*2-*"))
    train(resumed, 1, str(resumed / "checkpoints" / "checkpoint-2"), **changed)
    assert _rows(resumed) == [row for row in rows if row["step"] > 2]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_geometric_mask_measures_a_group_that_was_left_over_against_the_policy_that_sampled_it(
    processes: int, tmp_path: Path
) -> None:
    """All others are from the policy as it is, so tight bounds mask the old ones alone."""
    folder = tmp_path / "run"
    dynamic = {"rounds": 6, "oversample": 2.0}
    if processes == 1:
        train(folder, 1, dynamic_sampling=dynamic, geometric_bounds=(0.9999, 1.0001))
    else:
        given = (f"dynamic_sampling={json.dumps(dynamic)}", "geometric_bounds=[0.9999, 1.0001]")
        run_on_two_processes(RUN, str(folder), "2", "-", *given)
    _check_credit(folder, range(1, STEPS + 1))
    old = _logged(folder, "groups/share_of_step_before")
    assert _logged(folder, "sampling/masked_rollouts") == pytest.approx(old)
    assert 0 in old and max(old) > 0
    assert _logged(folder, "sampling/geometric_mean/max")[0] == pytest.approx(1, abs=1e-5)
    lines = json.loads((folder / "log-0.json").read_text())
    trained = [line["grad_norm"] for line in lines if "grad_norm" in line]
    assert [norm == 0 for norm in trained] == [share == 1 for share in old]


def test_rounds_that_are_over_leave_groups_of_equal_rewards(tmp_path: Path) -> None:
    train(tmp_path / "run", 1, dynamic_sampling={"rounds": 1, "oversample": 1.25})
    _check_credit(tmp_path / "run", range(1, STEPS + 1))
    assert max(_logged(tmp_path / "run", "groups/equal_share_trained")) > 0


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_stored_rollouts_keep_their_rewards_under_another_loss(processes: int, tmp_path: Path) -> None:
    source, again = tmp_path / "source", tmp_path / "again"
    dynamic: dict[str, Any] = {"rounds": 6}
    train(source, 1, dynamic_sampling=dynamic, keep_rollouts=True)
    if processes == 1:
        train(again, 1, rollouts_from=source, dynamic_sampling=dynamic, loss_type="bnpo")
    else:
        given = (f"rollouts_from={source}", f"dynamic_sampling={json.dumps(dynamic)}", "loss_type=bnpo")
        run_on_two_processes(RUN, str(again), "2", "-", *given)
    _check_credit(again, range(1, STEPS + 1))

    def trained(folder: Path) -> list[tuple[Any, ...]]:
        return sorted((row["step"], row["prompt"], row["completion"], row["advantage"]) for row in _rows(folder))

    assert trained(again) == trained(source)
    assert not (again / "rollouts").exists()
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (source, again))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_more_steps_than_stored_rollouts_are_refused_with_their_number(tmp_path: Path) -> None:
    train(tmp_path / "source", 1, keep_rollouts=True, max_steps=1)
    with pytest.raises(InputError, match="holds only 3 groups of 4 rollouts, and step 2 needs more"):
        train(tmp_path / "again", 1, rollouts_from=tmp_path / "source", max_steps=2)
