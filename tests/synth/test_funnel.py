"""The funnel's table and card where a reason repeats what a model wrote."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.funnel import SplitFunnel, print_funnel, write_card
from synth.pipeline import synthesise
from synth.prompts import AnswerError, read_answer
from xcoder_core.errors import InputError
from xcoder_core.stage import RESULT_FILE, StageContext, SynthLayout


def test_what_a_model_wrote_is_no_markup_and_no_control_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AnswerError) as unread:
        read_answer("```[/]\x1b[2j|x" + "y" * 1000 + "\n{}\n```")
    reason = str(unread.value)
    funnels = {"train": SplitFunnel(set_aside=Counter({reason: 3}))}
    print_funnel(funnels)
    settings = SynthSettings.model_validate({"splits": {"train": {"use": "sft", "tasks": 1}}})
    shown = capsys.readouterr().err + write_card("sft", 1, settings, 0, funnels)
    assert "\x1b" not in shown and shown.count("[/]\\x1b[2j") == 2 and "[2j\\|x" in shown
    assert "y" * 100 not in shown


def test_a_synthesis_that_keeps_nothing_is_an_error_that_says_why_and_keeps_what_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SynthSettings.model_validate(
        {
            "teacher": {"broken_rate": 1.0},
            "splits": {"train": {"use": "sft", "tasks": 3, "depth": [1]}},
            "inputs_per_task": 3,
            "candidates_per_task": 2,
        }
    )
    context = StageContext("test", "synth", "key", tmp_path, 11, {})
    for made_before in (0, 3):  # the same command once more makes nothing again and says the same
        with pytest.raises(InputError) as refused:
            synthesise(settings, JudgeSettings(workers=1), "plain", context)
        assert re.search(r"kept no task at all.* reasons: [a-z ]+ \(3\)", str(refused.value))
        assert str(tmp_path) in str(refused.value) and not (tmp_path / RESULT_FILE).exists()
        assert json.loads(SynthLayout(tmp_path).funnel.read_text())["train"]["made"] == 3
        assert ("tasks: 0 of 3" in capsys.readouterr().err) == (made_before == 0)
