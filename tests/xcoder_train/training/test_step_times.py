"""The times that a GRPO step logs: of its own parts, adding up to it, over processes that wait for each other."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.report.plots import PART_COLOURS
from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_train.grpo.step_times import PARTS, watched
from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _seconds(line: dict[str, Any]) -> dict[str, float]:
    return {part: line[f"timing/{part}_runtime"] for part in PARTS}


def test_the_parts_of_every_step_add_up_to_it_and_an_evaluation_is_in_none(
    by_heart: Path, tmp_path: Path, stage: Stage
) -> None:
    evaluation = {"every_steps": 1, "tasks": 4, "samples": 8}
    perform(*stage("grpo", tmp_path, {"sft": by_heart}, evaluation=evaluation, training={"max_steps": 3}))
    lines = [line for line in _lines(tmp_path) if "reward" in line]
    assert len(lines) == 3
    for line in lines:
        seconds = _seconds(line)
        assert line["timing/step_runtime"] == pytest.approx(sum(seconds.values()), abs=1e-3)
        assert all(seconds[part] > 0 for part in ("sampling", "judging", "update", "rest"))
        assert seconds["old_logprobs"] == seconds["weight_sync"] == 0  # one update for each set, and no vLLM
        # TRL's own clock runs over forward, backward and the making of rollouts, and not over the optimiser.
        assert line["timing/step_runtime"] > line["step_time"] > sum(seconds.values()) - seconds["update"]
        assert line["judge/seconds"] <= seconds["judging"]
        new = line["completions/mean_length"] * 8
        for part in ("sampling", "judging"):
            assert line[f"timing/{part}_tokens_per_second"] * seconds[part] == pytest.approx(new, rel=1e-3)
        trained = line["timing/update_tokens_per_second"] * seconds["update"]
        assert trained > new  # prompts too
        assert not any(name.startswith("vllm/") for name in line)
    held_out = [line for line in _lines(tmp_path) if "eval_reward" in line]
    assert len(held_out) == 4 and not any("timing" in name for line in held_out for name in line)
    tokens = [line["num_tokens"] for line in lines]
    trained = [line["timing/update_tokens_per_second"] * line["timing/update_runtime"] for line in lines]
    assert sum(trained) == pytest.approx(tokens[-1], rel=1e-3)


def test_old_log_probabilities_are_timed_where_several_updates_need_them(
    by_heart: Path, tmp_path: Path, stage: Stage
) -> None:
    training = {"max_steps": 2, "save_steps": 2}
    perform(*stage("grpo", tmp_path, {"sft": by_heart}, updates_per_rollouts=2, training=training))
    first, second = _lines(tmp_path)
    assert first["timing/old_logprobs_runtime"] > 0 < first["timing/old_logprobs_tokens_per_second"]
    both = sum(line["timing/update_tokens_per_second"] * line["timing/update_runtime"] for line in (first, second))
    old = first["timing/old_logprobs_tokens_per_second"] * first["timing/old_logprobs_runtime"]
    assert old == pytest.approx(both, rel=1e-3)  # of the whole set, which two updates divide
    assert {part for part, seconds in _seconds(second).items() if seconds} == {"update"}
    assert "timing/sampling_tokens_per_second" not in second


@pytest.mark.slow
def test_a_process_that_is_ready_waits_for_the_one_that_still_samples_and_judges(tmp_path: Path) -> None:
    """The second process takes a second longer for its rollouts, and another one for what they are worth."""
    run_on_two_processes("tests.xcoder_train.training.times_on_two", str(tmp_path))
    lines = json.loads((tmp_path / "log.json").read_text())
    assert len(lines) == 2
    for line in lines:
        seconds = _seconds(line)
        # Means over both: each slow second is half a second of work, and half a second of the other's waiting.
        assert seconds["sampling"] >= 0.5 and seconds["judging"] >= 0.5 and seconds["waiting"] >= 0.9
        assert line["timing/step_runtime"] == pytest.approx(sum(seconds.values()), abs=1e-3)
        assert sum(seconds.values()) >= 1.9


def test_the_report_draws_every_part() -> None:
    assert set(PART_COLOURS) == set(PARTS)


def test_the_largest_values_are_kept_also_of_a_sampling_that_is_over_at_once() -> None:
    values: Iterator[int] = iter([3, 7, 5])
    most: dict[str, float] = {}
    with watched(lambda: {"running": next(values, 1)}, most):
        while most.get("running", 0) < 7:
            time.sleep(0.01)
    assert most == {"running": 7}
    alone: dict[str, float] = {}
    with watched(lambda: {"running": 2}, alone):
        pass
    assert alone == {"running": 2}
    sampling = watched(lambda: {"running": 4}, alone)(lambda rollouts: rollouts + 1)
    assert [sampling(1), sampling(2)] == [2, 3] and alone == {"running": 4}  # as the engine's own are wrapped
