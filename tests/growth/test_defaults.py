"""A changed default raises its stage's version."""

import json
from typing import Any

import pytest

from synth.config import VerificationSettings
from tests.growth.defaults import FILE, current, mistakes
from xcoder_train.sft.settings import SftSettings

RECORDED: dict[str, Any] = json.loads(FILE.read_text())


def test_no_default_has_changed_without_a_new_version_of_its_stage() -> None:
    assert mistakes(RECORDED, current()) == []


@pytest.mark.parametrize(
    ("settings", "field", "path"),
    [(SftSettings, "batch", "sft.batch"), (VerificationSettings, "minimum_tests", "synth.verification.minimum_tests")],
)
def test_a_default_that_changes_alone_is_noticed(
    monkeypatch: pytest.MonkeyPatch, settings: Any, field: str, path: str
) -> None:
    monkeypatch.setattr(settings.model_fields[field], "default", 77)
    assert [mistake.split(":")[0] for mistake in mistakes(RECORDED, current())] == [path]


def test_a_new_version_asks_for_its_defaults_to_be_written_down() -> None:
    older = {stage: {**entry, "version": entry["version"] - 1} for stage, entry in RECORDED.items()}
    assert len(mistakes(older, current())) == len(RECORDED)


def test_a_setting_that_is_new_is_no_change() -> None:
    fewer = {
        stage: {**entry, "defaults": dict(list(entry["defaults"].items())[:-3])} for stage, entry in RECORDED.items()
    }
    assert mistakes(fewer, current()) == []
