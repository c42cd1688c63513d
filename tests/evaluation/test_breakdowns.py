"""Runs, every k, lengths and the estimator against computations that share nothing with them."""

import itertools
import statistics
from fractions import Fraction
from math import comb

import numpy
import pytest

from evaluation.judging import SampleVerdict
from evaluation.results import average_over_runs, by_length, every_k
from evaluation.scores import ProblemCounts, pass_at_k, ratio_interval


def verdicts(table: list[list[int]]) -> list[SampleVerdict]:
    """Rows are problems, columns samples: 1 right, 0 wrong, -1 no verdict."""
    failures = {1: "none", 0: "wrong_answer", -1: "invalid"}
    return [
        SampleVerdict(f"p{p}", s, "AC", 0, 1, failures[value])  # type: ignore[arg-type]
        for p, row in enumerate(table)
        for s, value in enumerate(row)
    ]


def test_avg_at_n_is_the_mean_over_runs_with_their_sample_standard_deviation() -> None:
    table = [[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1]]
    runs = [sum(column) / 5 for column in zip(*table, strict=True)]
    found = average_over_runs(verdicts(table))
    assert found["runs"] == pytest.approx(runs) and found["n"] == 4
    assert found["mean"] == pytest.approx(statistics.mean(runs))
    assert found["std"] == pytest.approx(statistics.stdev(runs))
    # With the same samples of every problem, avg@n is pass@1.
    assert found["mean"] == pytest.approx(pass_at_k([4] * 5, [sum(row) for row in table], 1).mean())


def test_a_sample_without_a_verdict_is_left_out_of_its_run_and_one_run_has_no_deviation() -> None:
    assert average_over_runs(verdicts([[1, -1], [0, 1]]))["runs"] == [0.5, 1.0]
    assert average_over_runs(verdicts([[1], [0]]))["std"] is None
    assert average_over_runs([])["mean"] is None


def test_every_k_goes_from_one_to_n_and_equals_enumeration() -> None:
    table = [[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]]
    counts = [ProblemCounts(f"p{i}", "b", "g", 5, sum(row), 0) for i, row in enumerate(table)]
    curve = every_k(counts, 200, 0)
    assert [point["k"] for point in curve] == [1, 2, 3, 4, 5]
    for point in curve:
        draws = [
            sum(any(draw) for draw in itertools.combinations(row, point["k"])) / comb(5, point["k"]) for row in table
        ]
        assert point["mean"] == pytest.approx(statistics.mean(draws), abs=1e-12)
        assert point["ci95"][0] <= point["mean"] <= point["ci95"][1]


def test_the_estimator_is_unbiased_over_every_outcome_of_n_samples() -> None:
    """Exact, in fractions: averaged over all outcomes it is 1 - (1 - p)^k, which the naive estimate is not."""
    n, p = 6, Fraction(1, 3)
    for k in range(1, n + 1):
        expected = sum(
            Fraction(comb(n, c)) * p**c * (1 - p) ** (n - c) * Fraction(pass_at_k([n], [c], k)[0]).limit_denominator(60)
            for c in range(n + 1)
        )
        assert expected == 1 - (1 - p) ** k
    naive = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * (1 - (1 - Fraction(c, n)) ** 3) for c in range(n + 1))
    assert naive != 1 - (1 - p) ** 3


def test_lengths_fall_into_their_bins_and_no_sample_is_lost() -> None:
    rows = verdicts([[1, 1, 0], [0, 1, -1]])
    lengths = [10, 1023, 1024, 40_000, 2047, 5]
    tokens = {(row.problem_id, row.sample_index): n for row, n in zip(rows, lengths, strict=True)}
    bins = by_length(rows, tokens, 200, 0)
    assert [(b["from"], b["below"], b["right"], b["samples"]) for b in bins] == [
        (0, 1024, 2, 2),
        (1024, 2048, 1, 2),
        (32768, None, 0, 1),
    ]
    assert all(b["ci95"][0] <= b["share"] <= b["ci95"][1] for b in bins)


def test_the_interval_of_a_share_by_length_covers_the_truth_in_about_95_of_100() -> None:
    chance = numpy.random.default_rng(5)
    covered, trials = 0, 300
    for trial in range(trials):
        samples = chance.integers(0, 5, size=90)
        skill = chance.beta(1.0, 1.5, size=90)  # the same for short and long answers: the truth is its mean, 0.4
        right = chance.binomial(samples, skill)
        low, high = ratio_interval(right, samples, 300, trial)
        covered += low <= 0.4 <= high
    assert 0.90 <= covered / trials <= 0.985
