"""The table of TRL's arguments is the installed TRL's."""

import ast
import json
from typing import Any

import pytest

from xcoder_train.core.errors import InputError
from xcoder_train.trl_arguments import TABLE, argument_mistake, arguments, built, settable, table_of_installed
from xcoder_train.trl_values import _OF_EVALUATION, _OFF, _RANGES, schedule_mistake, value_mistake


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
        ("max_steps", -1),
        ("eval_strategy", "no"),
        ("push_to_hub", False),
        ("epsilon_high", None),
        ("logging_steps", 0.1),
    ],
)
def test_what_trl_takes_is_let_through(name: str, value: object) -> None:
    assert argument_mistake("grpo", name, value) is None


def test_ranges_are_of_arguments_that_exist() -> None:
    known = {**arguments("sft"), **arguments("grpo")}
    assert {*_RANGES, *_OFF, *_OF_EVALUATION} <= set(known)
    for trainer in ("sft", "grpo"):
        for name, argument in arguments(trainer).items():  # type: ignore[arg-type]
            assert value_mistake(name, argument.default) is None, name


def test_a_schedule_is_complete_with_what_it_needs() -> None:
    kind = {"lr_scheduler_type": "cosine_with_min_lr"}
    assert schedule_mistake({}) is None
    assert schedule_mistake({**kind, "lr_scheduler_kwargs": {"min_lr": 1e-6}}) is None
    assert schedule_mistake({**kind, "lr_scheduler_kwargs": {"min_lr": 1e-6, "min_lr_rate": 0.1}}) is not None


@pytest.mark.parametrize("trainer", ["sft", "grpo"])
def test_what_a_stage_decides_itself_is_refused_in_a_recipe(trainer: Any) -> None:
    functions = {
        node.name: node
        for node in ast.parse((TABLE.parent / "training_arguments.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    given = next(
        node
        for node in ast.walk(functions[f"{trainer}_config"])
        if isinstance(node, ast.Dict) and "settings.training" in map(ast.unparse, node.values)
    )
    after = list(map(ast.unparse, given.values)).index("settings.training") + 1  # what is laid over `training`
    (both,) = (node for node in ast.walk(functions["_decided"]) if isinstance(node, ast.Dict))
    names = [key.value for key in (*given.keys[after:], *both.keys) if isinstance(key, ast.Constant)]
    assert len(names) > 10
    assert [name for name in names if "is decided by" not in str(argument_mistake(trainer, str(name), None))] == []


def test_what_only_trl_can_refuse_is_a_mistake_in_the_recipe() -> None:
    from trl import SFTConfig

    with pytest.raises(InputError, match="sft.training: trl.SFTConfig refuses it: .*dataloader_prefetch_factor"):
        built(SFTConfig, "sft", {"dataloader_prefetch_factor": 3, "use_cpu": True, "bf16": False})


def test_the_trainers_are_told_apart() -> None:
    assert argument_mistake("sft", "loss_type", "dapo") is not None
    assert "epsilon" in arguments("grpo") and "epsilon" not in arguments("sft")
