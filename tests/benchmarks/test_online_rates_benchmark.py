"""What a point of GRPO costs: read off the runs of an ablation, over its seeds."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.online_rates import COLUMNS, RunCost, sampled_tokens, summary, to_markdown


def _run(**changed: Any) -> RunCost:
    plain: dict[str, Any] = {"start": 0.1, "end": 0.3, "rollouts": 1000, "tokens": 40_000, "seconds": 80.0}
    return RunCost(**{**plain, "curve": [(0, 0.1), (20_000, 0.15), (40_000, 0.25)], **changed})


def test_points_stand_against_what_was_sampled_and_how_long_it_took() -> None:
    arms = {
        "plain": {0: _run(), 1: _run(end=0.2)},
        "both": {0: _run(rollouts=2000, tokens=80_000, curve=[(0, 0.1), (80_000, 0.5)]), 1: _run(end=0.1)},
    }
    columns = {name: summary(runs, arms)["columns"] for name, runs in arms.items()}
    plain = columns["plain"]
    assert plain["points at depth 3"]["values"] == pytest.approx([20, 10])
    assert plain["points at depth 3"]["deviation"] == pytest.approx(50**0.5)
    assert plain["points per thousand rollouts"]["mean"] == pytest.approx(15)
    assert plain["points per second"]["values"] == pytest.approx([0.25, 0.125])
    assert plain["tokens per point"]["mean"] == pytest.approx(3000)
    assert plain["points on the way at the first arm's tokens"]["values"] == pytest.approx([15, 15])
    assert columns["both"]["points on the way at the first arm's tokens"]["values"][0] == pytest.approx(20)
    assert columns["both"]["tokens per point"]["mean"] is None  # one seed gained nothing
    page = to_markdown({"overrides": [], "arms": {name: summary(runs, arms) for name, runs in arms.items()}})
    assert "| plain | 15 ± 7.07 | 1,000 ± 0 | 40,000 ± 0 |" in page and page.count("\n| ") == 3
    assert len(page.splitlines()[-1].split("|")) == len(COLUMNS) + 4
    json.dumps(columns, allow_nan=False)


def test_groups_that_were_replaced_count_among_the_sampled_tokens() -> None:
    assert sampled_tokens({"completions/mean_length": 12.5, "reward": 0.1}, 512) == 6400
    assert sampled_tokens({"completions/mean_length": 12.5, "groups/sampled_tokens": 9000.0}, 512) == 9000
    assert sampled_tokens({"eval_reward": 0.5}, 512) == 0


def test_the_recipe_has_the_four_arms_at_equal_steps() -> None:
    from benchmarks.online_rates import RECIPE
    from xcoder_train.ablation.runs import Ablation

    ablation = Ablation(Path(__file__).parents[2] / RECIPE)
    assert [arm.name for arm in ablation.arms] == ["plain", "dynamic", "online", "both"]
    sections = [arm.recipe.grpo for arm in ablation.arms]
    chosen = [
        (s is not None and s.dynamic_sampling is not None, s is not None and s.online_rates is not None)
        for s in sections
    ]
    assert chosen == [(False, False), (True, False), (False, True), (True, True)]
    assert [run.name for run in ablation.preparations()] == ["pool", *(f"start-seed{seed}" for seed in (0, 1, 2))]
