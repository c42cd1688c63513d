"""Credit: through groups over two processes, shuffles, lost verdicts and a resume, each rollout keeps its own reward.

The rollouts say in their own text what they are worth, so what reaches the loss can be held against it.
"""

import json
import re
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file

from tests.xcoder_train.training.credit_run import (
    GROUP,
    LOST,
    PLAIN,
    PROMPTS_PER_STEP,
    STEPS,
    completion_for,
    problem_number,
    run,
    worth,
)
from xcoder_core.errors import InputError
from xcoder_train.grpo.rollout_files import RolloutFiles

ON_ONE_AND_TWO = pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
TWO_UPDATES = {"updates_per_rollouts": 2}
OVERLONG = {
    "reward": {**PLAIN, "overlong": {"tokens": 40, "penalty": 1.5}},
    "lengths": [[0, 90], [2, 150]],
    "max_completion_length": 400,
}
REPLACED = {"dynamic_sampling": {"rounds": 6, "oversample": 2.0}}
ALL_TOGETHER = {
    **TWO_UPDATES,
    **REPLACED,
    **OVERLONG,
    "reward": {"leave_out_truncated": True, "overlong": {"tokens": 40, "penalty": 1.5}},
}
ITEMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two-updates": TWO_UPDATES,
    "left-out": {"reward": {"leave_out_truncated": True}},
    "overlong": OVERLONG,
    "replaced": REPLACED,
    "all-together": ALL_TOGETHER,
}


def _cases() -> Iterator[Any]:
    """Rollouts are ordered by length where their order is free, and shuffled by TRL where it is not: with bnpo."""
    for processes, loss_type in product((1, 2), ("dr_grpo", "bnpo")):
        for item in ITEMS if (processes, loss_type) != (2, "bnpo") else ("plain", "all-together"):
            marks = [] if (processes, loss_type) == (1, "dr_grpo") else [pytest.mark.slow]
            yield pytest.param(item, loss_type, processes, id=f"{item}-{loss_type}-{processes}", marks=marks)


def _rows(folder: Path) -> list[dict[str, Any]]:
    """What reached the loss, from every process."""
    return [row for file in sorted(folder.glob("rows-*.json")) for row in json.loads(file.read_text())]


def _logged(folder: Path, name: str) -> list[float]:
    return [line[name] for line in json.loads((folder / "log-0.json").read_text()) if name in line]


def _own_words(prompt: str, completion: str) -> tuple[float | None, bool, int]:
    """The reward by the rollout's own words, whether it was cut off, and the step that sampled it."""
    ((name, step),) = re.findall(r"(seed \d+ of step (\d+))", completion)
    text, cut_off = completion_for(f"problem {problem_number(prompt)}", name)
    assert completion == text
    return worth(prompt, completion, cut_off), cut_off, int(step)


def _reward(row: dict[str, Any], given: dict[str, Any]) -> float | None:
    """The reward that counts in its group, by the rollout's own words and the recipe."""
    reward, cut_off, step = _own_words(row["prompt"], row["completion"])
    settings = given.get("reward", PLAIN)
    if reward is None or (cut_off and settings.get("leave_out_truncated")):
        return None
    if "overlong" in settings:
        tokens, limit = row["tokens"], [limit for begun, limit in given["lengths"] if begun <= step][-1]
        width, penalty = settings["overlong"]["tokens"], settings["overlong"]["penalty"]
        if tokens > limit - width:
            reward += penalty * max(-1.0, ((limit - width) - tokens) / width)
    return reward


def _check_credit(folder: Path, steps: range, given: dict[str, Any], *, scaled: bool = False) -> None:
    """Every rollout once; its advantage is its own reward less the mean of its group's known ones.

    With `scaled` over their deviation; a group with one known reward has none, and teaches nothing. Groups are compared
    as wholes, though several updates may divide their rollouts.
    """
    rows, updates = _rows(folder), given.get("updates_per_rollouts", 1)
    assert len(rows) == len({row["completion"] for row in rows}) == len(steps) * PROMPTS_PER_STEP * GROUP
    assert all(sum(row["step"] == step for row in rows) == PROMPTS_PER_STEP * GROUP for step in steps)
    groups = defaultdict(list)
    for row in rows:
        groups[(row["step"] - 1) // updates, row["prompt"]].append(row)
    assert len(groups) == len(steps) * PROMPTS_PER_STEP
    for group in groups.values():
        assert len(group) == GROUP
        rewards = [_reward(row, given) for row in group]
        known = [reward for reward in rewards if reward is not None]
        assert "dynamic_sampling" not in given or len(set(known)) > 1
        spread = statistics.stdev(known) + 1e-4 if scaled and len(known) > 1 else 1.0
        for row, reward in zip(group, rewards, strict=True):
            expected = 0.0 if reward is None else (reward - sum(known) / len(known)) / spread
            assert row["advantage"] == pytest.approx(expected, rel=1e-4, abs=1e-5), row
    lost = [row for row in rows if LOST in row["completion"]]
    assert 0 < len(lost) < len(rows) / 2  # the test is about something
    assert len({row["advantage"] for row in rows}) > 5
    assert updates == 1 or any(len({row["step"] for row in group}) == 2 for group in groups.values())


def _check_tables(folder: Path) -> None:
    """The table of completions shows each rollout's own reward; none where it is lost."""
    tables = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    assert len(rows) == STEPS * PROMPTS_PER_STEP * GROUP
    for row in rows:
        reward = _own_words(row["prompt"][0]["content"], row["completion"][0]["content"])[0]
        shown = row["judged"]
        assert (shown is None or shown != shown) if reward is None else shown == pytest.approx(reward)


def _check_replacement(folder: Path) -> None:
    """No step trains on a group whose rewards are all equal, though a third of the sampled ones are."""
    assert sum(_logged(folder, "groups/sampled")) > STEPS * PROMPTS_PER_STEP
    assert 0 < statistics.mean(_logged(folder, "groups/equal_share_sampled")) < 1
    assert set(_logged(folder, "groups/equal_share_trained")) == {0.0}
    assert max(_logged(folder, "groups/share_of_step_before")) > 0


def _check_what_lengths_take(folder: Path, given: dict[str, Any]) -> None:
    """The test is about something, and what the recipe leaves out is no failure of the judge."""
    rows = _rows(folder)
    of_judge = [_own_words(row["prompt"], row["completion"])[0] for row in rows]
    counted = [_reward(row, given) for row in rows]
    leaves_out = "leave_out_truncated" in given["reward"]
    assert (counted.count(None) > of_judge.count(None)) is leaves_out
    stored = [one.worth for group in RolloutFiles(folder / "rollouts").groups(GROUP) for one in group]
    assert any(one.left_out and one.reward is not None for one in stored) is leaves_out
    sets = STEPS // given.get("updates_per_rollouts", 1)
    excluded = _logged(folder, "judge/excluded")
    assert len(excluded) == sets and sum(excluded) * len(rows) / sets == pytest.approx(of_judge.count(None))
    if "overlong" in given["reward"]:
        pairs = [pair for pair in zip(of_judge, counted, strict=True) if None not in pair]
        lost = {round(reward - less, 6) for reward, less in pairs}
        assert {0.0, given["reward"]["overlong"]["penalty"]} < lost  # and some in between


def _check_resumed(resumed: Path, whole: Path) -> None:
    """What follows on the checkpoint of the second step is what followed there in the run that never stopped."""
    assert _rows(resumed) == [row for row in _rows(whole) if row["step"] > 2]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("item", "loss_type", "processes"), [*_cases()])
def test_each_rollout_keeps_its_own_reward_to_the_loss_and_after_a_resume(
    item: str, loss_type: str, processes: int, tmp_path: Path
) -> None:
    """What is left over after the second step stands in files that the checkpoint refers to."""
    given = {**ITEMS[item], "loss_type": loss_type}
    whole, resumed = run(tmp_path / "whole", processes, **given), tmp_path / "resumed"
    _check_credit(whole, range(1, STEPS + 1), given)
    if given.get("reward", PLAIN) == PLAIN:
        _check_tables(whole)
    else:
        _check_what_lengths_take(whole, given)
    ranks = defaultdict(set)
    for row in _rows(whole):
        ranks[row["step"], row["prompt"]].add(row["rank"])
    divides_groups = processes == 2 and "updates_per_rollouts" not in given
    assert max(map(len, ranks.values())) == (2 if divides_groups else 1)
    checkpoint = resumed / "checkpoints" / "checkpoint-2"
    shutil.copytree(whole / "checkpoints" / "checkpoint-2", checkpoint)
    if "dynamic_sampling" in given:
        _check_replacement(whole)
        shutil.copytree(whole / "rollouts", resumed / "rollouts", ignore=shutil.ignore_patterns("step-*[23]-*"))
        saved = json.loads((checkpoint / "trainer_state.json").read_text())
        assert saved["stateful_callbacks"]["Groups"]["attributes"]["surplus"]  # the test is about something
    run(resumed, processes, checkpoint, **given)
    _check_resumed(resumed, whole)


@pytest.mark.slow
def test_rewards_over_their_deviation_leave_out_what_is_lost(tmp_path: Path) -> None:
    given = {"loss_type": "dapo", "scale_rewards": "group"}
    _check_credit(run(tmp_path / "run", **given), range(1, STEPS + 1), given, scaled=True)


def test_a_run_that_goes_on_in_its_second_epoch_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    """Six prompts, three a step: the third step begins an epoch, and the run goes on inside it."""
    whole = run(tmp_path / "whole", save_steps=1)
    resumed = run(tmp_path / "resumed", 1, whole / "checkpoints" / "checkpoint-3", save_strategy="no")
    assert _rows(resumed) == [row for row in _rows(whole) if row["step"] > 3]
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@ON_ONE_AND_TWO
def test_the_geometric_mask_measures_a_group_that_was_left_over_against_the_policy_that_sampled_it(
    processes: int, tmp_path: Path
) -> None:
    """All others are from the policy as it is, so tight bounds mask the old ones alone."""
    folder = run(tmp_path / "run", processes, **REPLACED, geometric_bounds=(0.99999, 1.00001))
    _check_credit(folder, range(1, STEPS + 1), REPLACED)
    old = _logged(folder, "groups/share_of_step_before")
    assert _logged(folder, "sampling/masked_rollouts") == pytest.approx(old)
    assert 0 in old and max(old) > 0
    assert _logged(folder, "sampling/geometric_mean/max")[0] == pytest.approx(1, abs=1e-5)
    lines = json.loads((folder / "log-0.json").read_text())
    trained = [line["grad_norm"] for line in lines if "grad_norm" in line]
    assert [norm == 0 for norm in trained] == [share == 1 for share in old]


def test_rounds_that_are_over_leave_groups_of_equal_rewards(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", dynamic_sampling={"rounds": 1, "oversample": 1.25})
    _check_credit(folder, range(1, STEPS + 1), {})
    assert max(_logged(folder, "groups/equal_share_trained")) > 0


@ON_ONE_AND_TWO
@pytest.mark.parametrize("given", [{"dynamic_sampling": {"rounds": 6}}, ALL_TOGETHER], ids=["replaced", "all-together"])
def test_stored_rollouts_keep_their_rewards_under_another_loss_and_after_a_resume(
    given: dict[str, Any], processes: int, tmp_path: Path
) -> None:
    source = run(tmp_path / "source", keep_rollouts=True, **given)
    given = {**given, "rollouts_from": str(source), "loss_type": "bnpo"}
    again = run(tmp_path / "again", processes, **given)
    _check_credit(again, range(1, STEPS + 1), given)

    def trained(folder: Path) -> list[tuple[Any, ...]]:
        """By set, whose rollouts another loss may divide otherwise."""
        updates = given.get("updates_per_rollouts", 1)
        rows = [((row["step"] - 1) // updates, row) for row in _rows(folder)]
        return sorted((number, row["prompt"], row["completion"], row["advantage"]) for number, row in rows)

    assert [row[:3] for row in trained(again)] == [row[:3] for row in trained(source)]
    assert not (again / "rollouts").exists()
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (source, again))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())
    checkpoint = again / "checkpoints" / "checkpoint-2"
    _check_resumed(run(tmp_path / "resumed", processes, checkpoint, **given), again)


def test_more_steps_than_stored_rollouts_are_refused_with_their_number(tmp_path: Path) -> None:
    source = run(tmp_path / "source", keep_rollouts=True, max_steps=1)
    with pytest.raises(InputError, match="holds only 3 groups of 4 rollouts, and step 2 needs more"):
        run(tmp_path / "again", rollouts_from=str(source), max_steps=2)
