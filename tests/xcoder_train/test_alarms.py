"""Alarms: each sign of a run that goes wrong is told, and a sound run hears none."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from xcoder_train.grpo.alarms import Alarms, Watch
from xcoder_train.grpo.settings import AlarmSettings

SOUND: dict[str, Any] = {
    "reward": 1.0,
    "entropy": 0.5,
    "frac_reward_zero_std": 0.4,
    "verdicts/CE": 0.02,
    "verdicts/no code": 0.05,
    "hacking/names_its_tests": 0.01,
    "sampling/sampling_logp_difference/mean": 0.012,
    "sampling/masked_share": 0.0,
}


def _heard(*lines: dict[str, Any]) -> list[list[str]]:
    """The alarms of each line."""
    watch = Watch(AlarmSettings())
    return [[name for name, _ in watch.look({**SOUND, **line})] for line in lines]


def test_a_sound_run_hears_nothing() -> None:
    assert _heard(*[{"entropy": 0.5 - 0.02 * step} for step in range(20)]) == [[]] * 20


@pytest.mark.parametrize(
    ("value", "alarm"),
    [
        ({"sampling/sampling_logp_difference/mean": 0.2}, "stale rollout weights"),
        ({"sampling/masked_share": 0.051}, "masked tokens"),
        ({"hacking/names_its_tests": 0.06}, "tests special-cased"),
    ],
)
def test_one_line_is_enough(value: dict[str, float], alarm: str) -> None:
    assert _heard({}, value, {}) == [[], [alarm], []]


def test_groups_that_never_differ_are_told_after_some_steps() -> None:
    idle = {"frac_reward_zero_std": 1.0}
    assert _heard(idle, idle, {}, idle, idle, idle, idle) == [[]] * 5 + [["no variance"]] * 2


def test_a_collapse_of_entropy_is_told() -> None:
    heard = _heard(*[{}] * 5, *[{"entropy": 0.01}] * 6)
    assert heard[-1] == ["entropy collapse"]
    assert heard[5] == []  # one line may be low


def test_a_rise_of_code_that_does_not_parse_is_told() -> None:
    assert _heard(*[{}] * 5, *[{"verdicts/CE": 0.2}] * 5)[-1] == ["syntax errors"]
    assert _heard(*[{"verdicts/CE": 0.2}] * 10)[-1] == []  # it was so from the start
    assert _heard(*[{}] * 5, *[{"verdicts/no code": 0.3}] * 5)[-1] == ["syntax errors"]


def test_values_that_a_step_lacks_raise_nothing() -> None:
    assert _heard(*[dict.fromkeys(SOUND, None)] * 12) == [[]] * 12


def test_alarms_are_kept_printed_once_and_taken_up_after_a_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    bad = {**SOUND, "sampling/masked_share": 0.5}

    def run(first: int, last: int) -> Alarms:
        alarms = Alarms(AlarmSettings(), tmp_path)
        state = TrainerState(is_world_process_zero=True, global_step=first - 1)
        alarms.on_train_begin(arguments, state, TrainerControl())
        for state.global_step in range(first, last + 1):
            alarms.on_log(arguments, state, TrainerControl(), logs=bad)
            alarms.on_log(arguments, state, TrainerControl(), logs={"eval_reward": 1.0})
        return alarms

    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("")
    run(1, 3)
    printed = capsys.readouterr().err
    assert printed.count("ALARM at step 1, masked tokens") == printed.count("ALARM") == 1
    metrics.write_text("".join(json.dumps({"step": step, **bad}) + "\n" for step in (1, 2)))  # step 3 is made again
    assert run(3, 4).counts == {"masked tokens": 4}
    kept = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2, 3, 4]
    assert {line["alarm"] for line in kept} == {"masked tokens"}
