"""Time limits calibrated from the golden solution: as tight as its own run times allow, on a coarse grid.

A limit that is the same for all tasks lets a quadratic solution pass where a linear one needs a millisecond. Measured
times differ from run to run and records must not, so a limit takes one of a few values, each twice the one before.
"""

from collections.abc import Sequence

from pydantic import Field, field_validator

from xcoder_core.settings import Settings


class TimeLimitSettings(Settings):
    """How the limit of a task follows from the run times of its golden solution."""

    factor: float = Field(default=5.0, ge=1)
    """The limit is at least this many times the slowest run of the golden solution, as judges usually grant."""

    grid: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """The CPU seconds that a limit may be, rising."""

    @field_validator("grid")
    @classmethod
    def _grid_rises(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        if not grid or grid[0] <= 0 or list(grid) != sorted(set(grid)):
            raise ValueError("a grid needs one or more rising numbers of seconds above 0, such as [1, 2, 4, 8, 16]")
        return grid


def calibrated_limit(cpu_seconds: Sequence[float], settings: TimeLimitSettings) -> float | None:
    """The least limit of the grid that is `factor` times the slowest of the golden solution's runs, in CPU seconds.

    None where even the greatest limit is less: such a task has no fair limit on this grid and is to be dropped.
    Raises `ValueError` without runs.
    """
    if not cpu_seconds:
        raise ValueError("a time limit needs the CPU seconds of at least one run of the golden solution")
    wanted = settings.factor * max(cpu_seconds)
    return next((limit for limit in settings.grid if limit >= wanted), None)
