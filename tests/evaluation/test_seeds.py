"""Scores over several training seeds."""

import numpy
import pytest

from evaluation.scores import (
    ProblemCounts,
    bootstrap_interval,
    crossed_interval,
    estimate_difference_over_seeds,
    estimate_over_seeds,
)
from xcoder_core.errors import InputError


def _counts(correct: list[int], samples: int = 4) -> dict[str, ProblemCounts]:
    return {f"p{n}": ProblemCounts(f"p{n}", "b", "g", samples, right, 0) for n, right in enumerate(correct)}


def test_one_seed_is_the_bootstrap_over_problems() -> None:
    values = numpy.array([[0.0, 0.5, 1.0, 0.25]])
    assert crossed_interval(values, (0, 1), 500, 3) == bootstrap_interval(values[0], (0, 1), 500, 3)


def test_chance_among_seeds_widens_the_interval_that_problems_alone_give() -> None:
    generator = numpy.random.default_rng(0)
    problems = generator.random(400)
    offsets = numpy.array([[-0.2], [0.0], [0.2]])
    low, high = crossed_interval(problems + offsets, (-1, 2), 2000, 1)
    narrow_low, narrow_high = bootstrap_interval(problems, (-1, 2), 2000, 1)
    # The three offsets resample to a mean with a standard deviation of sqrt(2/3 * 0.04 / 3) = 0.094.
    assert high - low == pytest.approx(4 * 0.094, rel=0.25)
    assert high - low > 4 * (narrow_high - narrow_low)


def test_the_difference_is_paired_by_seed_and_by_problem() -> None:
    before = [_counts([0, 4, 2, 1]), _counts([1, 3, 4, 0])]
    after = [_counts([1, 4, 3, 2]), _counts([2, 4, 4, 1])]
    gain = estimate_difference_over_seeds(before, after, 1, 500, 0)
    first, second = (estimate_over_seeds(runs, 1, 500, 0).mean for runs in (before, after))
    assert gain.mean == pytest.approx(second - first) == pytest.approx(0.1875)
    assert gain.ci95 is not None and gain.ci95[0] > 0
    with pytest.raises(InputError, match="2 and 1 seeds cannot be paired"):
        estimate_difference_over_seeds(before, after[:1], 1, 500, 0)


def test_a_problem_that_one_seed_cannot_estimate_is_left_out_and_other_problems_are_refused() -> None:
    lacking = _counts([0, 4]) | {"p0": ProblemCounts("p0", "b", "g", 1, 0, 3)}
    estimate = estimate_over_seeds([_counts([1, 4]), lacking], 2, 500, 0)
    assert (estimate.problems, estimate.left_out, estimate.mean) == (1, 1, 1.0)
    with pytest.raises(InputError, match="1 are in one result alone, the first is p2"):
        estimate_over_seeds([_counts([1, 4]), _counts([1, 4, 2])], 1, 500, 0)
