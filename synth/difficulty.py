"""How difficult a problem is, by the share of candidate solutions that passed every test: bins, and an easy tail.

X-Coder's tasks have no easy tail (its Table 10), and reinforcement learning learns little from problems that every
rollout solves; so the share of easy problems is a setting, and nothing is thrown away by accident.
"""

import math
from collections.abc import Sequence

from pydantic import Field, field_validator

from xcoder_core.seeds import derive_seed
from xcoder_core.settings import Settings


class DifficultySettings(Settings):
    """How pass rates are named, and how many easy problems the RL dataset holds."""

    bins: dict[str, float] = {"easy": 0.9, "medium": 0.5, "hard": 0.0}
    """Name of each bin, easiest first, with the least pass rate that belongs to it; the last one is 0."""

    easy_tail: float = Field(default=1.0, ge=0, le=1)
    """Greatest share of problems of the easiest bin among the rows of the RL dataset. What is above it is left out of
    that dataset, drawn by seed, and stays in the tables."""

    @field_validator("bins")
    @classmethod
    def _bins_fall(cls, bins: dict[str, float]) -> dict[str, float]:
        least = list(bins.values())
        if not least or least[-1] != 0 or least[0] > 1 or any(a <= b for a, b in zip(least, least[1:], strict=False)):
            raise ValueError(
                "bins need falling pass rates of at most 1 that end with 0, such as {easy: 0.9, medium: 0.5, hard: 0}"
            )
        return bins


def difficulty_of(pass_rate: float, settings: DifficultySettings) -> str:
    """The bin of a problem."""
    return next(name for name, least in settings.bins.items() if pass_rate >= least)


def beyond_the_tail(easy: Sequence[str], others: int, settings: DifficultySettings, seed: int) -> set[str]:
    """Which of the easy problems (by id) are more than the tail may hold beside so many others, drawn by seed."""
    if settings.easy_tail == 1:
        return set()
    room = math.floor(settings.easy_tail * others / (1 - settings.easy_tail) + 1e-9)
    order = sorted(easy, key=lambda problem_id: derive_seed(seed, "easy tail", problem_id))
    return set(order[room:])
