"""pass@k, its 95 % interval over problems, and the paired difference of two models.

The unit of chance is the problem: problems are resampled, never samples, because the samples of one problem are not
independent of each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from xcoder_train.core.errors import InputError

CONFIDENCE = 0.95
# Values resampled at a time: bounds memory at about 64 MiB however many problems and resamples there are.
CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class ProblemCounts:
    """What one model did on one problem: `samples` that count, `correct` of them, and `invalid` ones left out."""

    problem_id: str
    benchmark: str
    group: str
    samples: int
    correct: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems and its 95 % interval. `left_out` problems had fewer valid samples than k.

    `mean`, `low` and `high` are None when no problem is left to average.
    """

    mean: float | None
    low: float | None
    high: float | None
    problems: int
    samples: int
    left_out: int


def pass_at_k(samples: Sequence[int], correct: Sequence[int], k: int) -> numpy.ndarray:
    """The unbiased pass@k of each problem, shape (problems,): 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1; as a product of k ratios, so that
    no binomial coefficient overflows. A problem with fewer than k samples has no estimate: that raises InputError.
    """
    n, c = numpy.asarray(samples, dtype=numpy.int64), numpy.asarray(correct, dtype=numpy.int64)
    if k < 1:
        raise InputError(f"pass@{k} does not exist; k must be at least 1")
    if n.size and n.min() < k:
        raise InputError(f"pass@{k} needs at least {k} samples of every problem; one has {n.min()}")
    if ((c < 0) | (c > n)).any():
        raise InputError("a problem has more correct samples than samples, or fewer than none")
    all_wrong = numpy.ones(n.shape)
    for drawn in range(k):
        all_wrong *= numpy.maximum(n - c - drawn, 0) / (n - drawn)
    return 1.0 - all_wrong


def estimate_pass_at_k(counts: Sequence[ProblemCounts], k: int, resamples: int, seed: int) -> Estimate:
    """Mean pass@k over the problems with at least k valid samples, and its interval."""
    usable = [count for count in counts if count.samples >= k]
    values = pass_at_k([count.samples for count in usable], [count.correct for count in usable], k)
    return _estimate(values, (0.0, 1.0), usable, len(counts) - len(usable), resamples, seed)


def estimate_difference(
    before: Mapping[str, ProblemCounts], after: Mapping[str, ProblemCounts], k: int, resamples: int, seed: int
) -> Estimate:
    """Mean of pass@k(after) - pass@k(before), problem by problem, with its paired interval.

    Both map problem_id to counts and must hold the same problems; InputError otherwise. Problems on which either
    model has fewer than k valid samples are left out and counted.
    """
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise InputError(
            f"two models can only be compared on the same problems; {len(odd)} are in one result alone, "
            f"the first is {odd[0]}. Evaluate both on the same benchmark."
        )
    common = [name for name in sorted(before) if before[name].samples >= k and after[name].samples >= k]
    first, second = [before[name] for name in common], [after[name] for name in common]
    values = pass_at_k([count.samples for count in second], [count.correct for count in second], k) - pass_at_k(
        [count.samples for count in first], [count.correct for count in first], k
    )
    return _estimate(values, (-1.0, 1.0), second, len(before) - len(common), resamples, seed)


def bootstrap_interval(
    values: numpy.ndarray, bounds: tuple[float, float], resamples: int, seed: int
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `values`, shape (problems,) (Efron 1979).

    Equal values resample to themselves, which would claim certainty from however few problems. For them the exact
    bound is taken: with P problems, at 95 % confidence at most 1 - 0.05^(1/P) of all problems differ from what was
    seen, and those may lie anywhere within `bounds`.
    """
    if numpy.ptp(values) < 1e-12:
        value, unseen = float(values[0]), 1 - (1 - CONFIDENCE) ** (1 / len(values))
        return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)
    generator = numpy.random.default_rng(seed)
    at_once = max(1, CHUNK // len(values))
    means = numpy.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        means[start : start + size] = values[generator.integers(len(values), size=(size, len(values)))].mean(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def ratio_interval(right: numpy.ndarray, samples: numpy.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of sum(right) / sum(samples), both of shape (problems,).

    Problems are resampled with all of their samples. Problems without a sample say nothing and are left out first; a
    ratio that no resample can move gets the exact bound of `bootstrap_interval`.
    """
    seen = samples > 0
    right, samples = right[seen], samples[seen]
    if numpy.ptp(right / samples) < 1e-12:
        return bootstrap_interval(right / samples, (0.0, 1.0), resamples, seed)
    generator = numpy.random.default_rng(seed)
    at_once = max(1, CHUNK // len(samples))
    ratios = numpy.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = generator.integers(len(samples), size=(size, len(samples)))
        ratios[start : start + size] = right[drawn].sum(1) / samples[drawn].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _estimate(
    values: numpy.ndarray,
    bounds: tuple[float, float],
    counts: Sequence[ProblemCounts],
    left_out: int,
    resamples: int,
    seed: int,
) -> Estimate:
    samples = sum(count.samples for count in counts)
    if not len(values):
        return Estimate(None, None, None, 0, samples, left_out)
    low, high = bootstrap_interval(values, bounds, resamples, seed)
    return Estimate(float(values.mean()), low, high, len(values), samples, left_out)
