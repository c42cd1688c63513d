"""Time limits that follow from the golden solution's run times."""

import pytest
from pydantic import ValidationError

from synth.time_limits import TimeLimitSettings, calibrated_limit


@pytest.mark.parametrize(
    ("slowest", "limit"), [(0.001, 1.0), (0.2, 1.0), (0.21, 2.0), (0.4, 2.0), (1.0, 8.0), (3.2, 16.0), (3.3, None)]
)
def test_the_limit_is_the_next_of_the_grid_above_five_times_the_slowest_run(
    slowest: float, limit: float | None
) -> None:
    assert calibrated_limit([0.0, slowest, slowest / 2], TimeLimitSettings()) == limit


def test_small_differences_in_run_time_do_not_move_the_limit() -> None:
    limits = {calibrated_limit([seconds], TimeLimitSettings()) for seconds in (0.45, 0.5, 0.6, 0.75)}
    assert limits == {4.0}


def test_factor_and_grid_can_be_set_and_are_checked() -> None:
    assert calibrated_limit([1.0], TimeLimitSettings(factor=2, grid=(0.5, 3))) == 3
    with pytest.raises(ValidationError, match="rising"):
        TimeLimitSettings(grid=(2, 1))
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        TimeLimitSettings(factor=0.5)
    with pytest.raises(ValueError, match="at least one run"):
        calibrated_limit([], TimeLimitSettings())
