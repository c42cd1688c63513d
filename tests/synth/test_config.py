"""Settings of synthesis that cannot mean anything are refused with the reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from synth.config import SynthSettings
from synth.estimate import questions_of


def settings(train: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    return {"splits": {"train": {"use": "sft", "tasks": 4, **(train or {})}}, **others}


def test_a_recipe_that_names_its_splits_is_enough() -> None:
    read = SynthSettings.model_validate(settings())
    assert read.splits["train"].depth == (1, 2, 3)
    assert read.styles == {"codeforces": 0.7, "atcoder": 0.15, "leetcode": 0.15}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": {"depth": []}}, "depth needs one or more numbers"),
        ({"train": {"depth": [0]}}, "from 1 to"),
        ({"train": {"depth": [99]}}, "from 1 to"),
        ({"train": {"styles": {"leetcode": 0}}}, "positive sum"),
        ({"styles": {}}, "positive sum"),
        ({"styles": {"codeforces": 1, "atcoder": -1}}, "non-negative"),
        ({"verification": {"hold_out": 1}}, "less than 1"),
    ],
)
def test_settings_without_meaning_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SynthSettings.model_validate(settings(**wrong))


@pytest.mark.parametrize(
    ("splits", "message"), [({}, "needs `splits`"), ({"../train": {"use": "sft", "tasks": 4}}, "may hold letters")]
)
def test_splits_need_plain_names_and_there_must_be_one(splits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SynthSettings.model_validate({"splits": splits})


SERVER = {"base_url": "http://localhost:8000/v1", "model": "m"}


def test_a_teacher_without_a_kind_is_the_procedural_one() -> None:
    assert SynthSettings.model_validate(settings(teacher={"wrong_rate": 0.5})).teacher.kind == "procedural"
    read = SynthSettings.model_validate(settings(teacher={"kind": "openai", "server": SERVER}, tasks={"stages": 1}))
    assert read.teacher.kind == "openai" and read.tasks.stages == 1
    assert SynthSettings.model_validate(settings(teacher={"kind": "vllm", "model": "m"})).teacher.kind == "vllm"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"teacher": {"kind": "oracle"}}, "oracle"),
        ({"teacher": {"kind": "openai", "server": {**SERVER, "model": None}}}, "server.model is needed"),
        ({"teacher": {"kind": "openai", "server": SERVER}, "solutions": {"tokens": [9, 3]}}, "fewest, most"),
        ({"tasks": {"stages": 1}}, "the teacher is procedural"),
        ({"inputs": {"validator": False}}, "the teacher is procedural"),
    ],
)
def test_settings_of_a_language_model_that_cannot_mean_anything_are_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        SynthSettings.model_validate(settings(**wrong))


def test_questions_per_task_are_those_that_the_settings_ask() -> None:
    teacher = {"kind": "openai", "server": SERVER}
    assert sum(questions_of(SynthSettings.model_validate(settings(teacher=teacher))).values()) == 2 + 4 + 8
    few = settings(teacher=teacher, tasks={"stages": 1}, inputs={"generated_share": 0, "validator": False})
    assert sum(questions_of(SynthSettings.model_validate(few)).values()) == 1 + 2 + 8
    assert sum(questions_of(SynthSettings.model_validate(settings())).values()) == 0
