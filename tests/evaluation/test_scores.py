"""The estimator against counting every case, the intervals against simulation."""

import itertools

import numpy
import pytest

from evaluation.scores import (
    ProblemCounts,
    bootstrap_interval,
    estimate_difference_over_seeds,
    estimate_pass_at_k,
    pass_at_k,
)
from xcoder_core.errors import InputError


def counts(correct: list[int], samples: int | list[int], group: str = "easy") -> list[ProblemCounts]:
    of = samples if isinstance(samples, list) else [samples] * len(correct)
    return [ProblemCounts(f"p{i:04d}", "b", group, n, c, 0) for i, (n, c) in enumerate(zip(of, correct, strict=True))]


def by_id(rows: list[ProblemCounts]) -> dict[str, ProblemCounts]:
    return {row.problem_id: row for row in rows}


def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_sample() -> None:
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
                share = sum(map(any, draws)) / len(draws)
                assert pass_at_k([n], [c], k)[0] == pytest.approx(share, abs=1e-12)


def test_pass_at_k_is_stable_for_thousands_of_samples() -> None:
    # 1 - C(9999, 5000) / C(10000, 5000) = 1/2 exactly, though either binomial has three thousand digits.
    assert pass_at_k([10_000], [1], 5_000)[0] == pytest.approx(0.5, abs=1e-9)


def test_k_above_the_number_of_samples_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least 5 samples"):
        pass_at_k([8, 4], [0, 4], 5)
    with pytest.raises(InputError, match="at least 1"):
        pass_at_k([8], [0], 0)


def test_problems_with_too_few_valid_samples_are_left_out_and_counted() -> None:
    estimate = estimate_pass_at_k(counts([8, 0, 3], [8, 8, 3]), k=8, resamples=200, seed=0)
    assert (estimate.mean, estimate.problems, estimate.samples, estimate.left_out) == (0.5, 2, 16, 1)
    nothing = estimate_pass_at_k(counts([3], [3]), k=8, resamples=200, seed=0)
    assert (nothing.mean, nothing.ci95, nothing.problems, nothing.left_out) == (None, None, 0, 1)


def test_interval_covers_the_true_mean_in_about_95_of_100_benchmarks() -> None:
    generator = numpy.random.default_rng(1)
    covered, trials, samples = 0, 400, 4
    for trial in range(trials):
        difficulty = generator.beta(1.0, 2.0, size=80)  # the true mean of pass@1 is 1/3
        correct = generator.binomial(samples, difficulty).tolist()
        estimate = estimate_pass_at_k(counts(correct, samples), 1, resamples=500, seed=trial)
        assert estimate.ci95 is not None
        covered += estimate.ci95[0] <= 1 / 3 <= estimate.ci95[1]
    assert 0.91 <= covered / trials <= 0.98


def test_a_paired_interval_covers_and_is_narrower_than_two_separate_ones() -> None:
    generator = numpy.random.default_rng(2)
    covered, trials, samples = 0, 300, 4
    paired_width, separate_width = 0.0, 0.0
    for trial in range(trials):
        difficulty = generator.beta(0.5, 0.5, size=80)
        first = counts(generator.binomial(samples, difficulty * 0.8).tolist(), samples)
        second = counts(generator.binomial(samples, difficulty).tolist(), samples)  # true difference 0.2 * 0.5
        paired = estimate_difference_over_seeds([by_id(first)], [by_id(second)], 1, resamples=400, seed=trial)
        one, two = (estimate_pass_at_k(rows, 1, resamples=400, seed=trial) for rows in (first, second))
        (low, high), (one_low, one_high), (two_low, two_high) = paired.ci95, one.ci95, two.ci95  # type: ignore[misc]
        covered += low <= 0.1 <= high
        paired_width += high - low
        separate_width += ((one_high - one_low) ** 2 + (two_high - two_low) ** 2) ** 0.5
    assert 0.90 <= covered / trials <= 0.985
    assert paired_width < 0.7 * separate_width


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_does_not_claim_certainty(value: float) -> None:
    low, high = bootstrap_interval(numpy.full(100, value), (0.0, 1.0), 200, seed=0)
    assert high - low == pytest.approx(1 - 0.05 ** (1 / 100))  # the "rule of three": about 3 in 100
    assert low <= value <= high and low >= 0 and high <= 1


def test_two_models_on_different_problems_are_not_compared() -> None:
    first, second = by_id(counts([1, 2], 4)), by_id(counts([1, 2, 3], 4))
    with pytest.raises(InputError, match="same problems.*p0002"):
        estimate_difference_over_seeds([first], [second], 1, resamples=200, seed=0)


def test_a_difference_leaves_out_problems_that_either_model_lacks_samples_of() -> None:
    first, second = by_id(counts([0, 0, 0], [4, 4, 3])), by_id(counts([4, 0, 4], [4, 4, 4]))
    estimate = estimate_difference_over_seeds([first], [second], 4, resamples=200, seed=0)
    assert (estimate.mean, estimate.problems, estimate.left_out) == (0.5, 2, 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = counts([0, 1, 2, 3, 4] * 8, 4)
    assert estimate_pass_at_k(rows, 1, 500, seed=3) == estimate_pass_at_k(rows, 1, 500, seed=3)
    assert estimate_pass_at_k(rows, 1, 500, seed=3) != estimate_pass_at_k(rows, 1, 500, seed=4)
