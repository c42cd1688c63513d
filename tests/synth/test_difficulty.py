"""Bins of difficulty, and the easy tail."""

import pytest
from pydantic import ValidationError

from synth.config import DifficultySettings
from synth.publication import beyond_the_tail


@pytest.mark.parametrize(
    ("pass_rate", "name"), [(1.0, "easy"), (0.9, "easy"), (0.875, "medium"), (0.5, "medium"), (0.0, "hard")]
)
def test_a_bin_begins_at_its_least_pass_rate(pass_rate: float, name: str) -> None:
    assert DifficultySettings().bin_of(pass_rate) == name


@pytest.mark.parametrize("bins", [{}, {"easy": 0.5}, {"a": 0.5, "b": 0.6, "c": 0.0}, {"a": 1.5, "b": 0.0}])
def test_bins_that_do_not_fall_to_zero_are_refused(bins: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="falling pass rates"):
        DifficultySettings(bins=bins)


@pytest.mark.parametrize(("easy_tail", "left"), [(1.0, 30), (0.2, 5), (0.5, 20), (0.0, 0)])
def test_the_tail_is_at_most_its_share_of_all(easy_tail: float, left: int) -> None:
    easy = [f"p{number}" for number in range(30)]
    settings = DifficultySettings(easy_tail=easy_tail)
    gone = beyond_the_tail(easy, 20, settings, seed=1)
    assert len(easy) - len(gone) == left
    assert gone == beyond_the_tail(easy[::-1], 20, settings, seed=1) <= set(easy)
