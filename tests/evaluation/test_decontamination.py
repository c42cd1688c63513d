"""What is known of a model's training data is said as it is; unknown is never silence."""

import json
from pathlib import Path

import pytest

from evaluation.decontamination import decontamination_status
from xcoder_train.core.errors import InputError


def test_a_model_from_elsewhere_is_unknown() -> None:
    assert decontamination_status(None, "livecodebench:v5-279")["status"] == "unknown"


def test_a_checked_synthesis_says_by_what_and_how_many_were_removed(tmp_path: Path) -> None:
    assert decontamination_status(tmp_path, "livecodebench:v5-279")["status"] == "unknown"
    found = {"sets": ["livecodebench"], "check": "13-grams", "removed": 4}
    (tmp_path / "decontamination.json").write_text(json.dumps(found))
    status = decontamination_status(tmp_path, "livecodebench:v5-279")
    assert status["status"] == "checked" and status["removed"] == 4 and "13-grams" in status["said"]
    other = decontamination_status(tmp_path, "HumanEvalPlus")
    assert other["status"] == "unknown" and "against livecodebench, not this" in other["said"]
    assert decontamination_status(tmp_path, "heldout")["status"] == "held out"


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    for text in ("{", '{"sets": []}'):
        (tmp_path / "decontamination.json").write_text(text)
        with pytest.raises(InputError, match=r"decontamination\.json"):
            decontamination_status(tmp_path, "x")
