"""The funnel's table and card where a reason repeats what a model wrote."""

from collections import Counter

import pytest

from synth.answers import AnswerError, read_answer
from synth.card import write_card
from synth.config import SynthSettings
from synth.funnel import SplitFunnel, print_funnel


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
