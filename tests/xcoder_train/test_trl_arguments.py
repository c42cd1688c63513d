"""The table of TRL's arguments is the installed TRL's."""

import json

import pytest

from xcoder_train.trl_arguments import TABLE, argument_mistake, arguments, settable, table_of_installed


def test_the_table_is_that_of_the_installed_trl() -> None:
    stored, installed = json.loads(TABLE.read_text()), table_of_installed()
    if stored["versions"] == installed["versions"]:
        assert stored == installed
    for trainer in ("sft", "grpo"):
        missing = set(settable(trainer)) - set(installed[trainer])  # type: ignore[arg-type]
        assert not missing, f"{missing} of {trainer} are unknown to {installed['versions']}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e-5),
        ("learning_rate", 1),
        ("max_steps", 3),
        ("bf16", None),
        ("lr_scheduler_type", "cosine"),
        ("lr_scheduler_kwargs", {"min_lr": 1}),
        ("optim", "adafactor"),
        ("warmup_steps", 0.03),
        ("loss_type", "dapo"),
    ],
)
def test_what_trl_takes_is_let_through(name: str, value: object) -> None:
    assert argument_mistake("grpo", name, value) is None


def test_the_trainers_are_told_apart() -> None:
    assert argument_mistake("sft", "loss_type", "dapo") is not None
    assert "epsilon" in arguments("grpo") and "epsilon" not in arguments("sft")
