"""Settings of synthesis that cannot mean anything are refused with the reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from synth.config import SynthSettings


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
    ("splits", "message"), [({}, "at least 1"), ({"../train": {"use": "sft", "tasks": 4}}, "may hold letters")]
)
def test_splits_need_plain_names_and_there_must_be_one(splits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SynthSettings.model_validate({"splits": splits})
