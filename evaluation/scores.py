"""pass@k, its 95 % interval over problems, and the paired difference of two models, or of two designs over seeds.

The unit of chance is the problem: problems are resampled, never samples, because the samples of one problem are not
independent of each other. Where a design was trained with several seeds, these are resampled too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy

from xcoder_core.errors import InputError

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
    """A mean over problems and its 95 % interval; None when no problem is left to average.

    `left_out` problems had fewer valid samples than k.
    """

    mean: float | None
    ci95: tuple[float, float] | None
    problems: int
    samples: int
    left_out: int


Counts = Mapping[str, ProblemCounts]
"""What one model did, by problem_id."""


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
    return _estimate(_values([usable], k), (0.0, 1.0), usable, len(counts) - len(usable), resamples, seed)


def estimate_over_seeds(runs: Sequence[Counts], k: int, resamples: int, seed: int) -> Estimate:
    """Mean pass@k over seeds and problems; `runs` holds one seed's counts each.

    A problem on which any seed has fewer than k valid samples is left out. InputError where problems differ.
    """
    common = _common(runs, k)
    counts = [count for run in common for count in run]
    return _estimate(_values(common, k), (0.0, 1.0), counts, len(runs[0]) - len(common[0]), resamples, seed)


def estimate_difference_over_seeds(
    before: Sequence[Counts], after: Sequence[Counts], k: int, resamples: int, seed: int
) -> Estimate:
    """Mean of pass@k(after) - pass@k(before), with its interval.

    Paired by problem and by seed: all must hold the same problems (InputError otherwise), and both sides the same seeds
    in order. Problems on which any model has fewer than k valid samples are left out and counted.
    """
    if len(before) != len(after):
        raise InputError(f"two designs with {len(before)} and {len(after)} seeds cannot be paired")
    common = _common([*before, *after], k)
    first, second = common[: len(before)], common[len(before) :]
    counts = [count for run in second for count in run]
    left_out = len(before[0]) - len(common[0])
    return _estimate(_values(second, k) - _values(first, k), (-1.0, 1.0), counts, left_out, resamples, seed)


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
    return _resampled(lambda drawn: values[drawn].mean(1), len(values), resamples, seed)


def ratio_interval(right: numpy.ndarray, samples: numpy.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of sum(right) / sum(samples), both of shape (problems,).

    Problems are resampled with all of their samples. Problems without a sample say nothing and are left out first; a
    ratio that no resample can move gets the exact bound of `bootstrap_interval`.
    """
    seen = samples > 0
    right, samples = right[seen], samples[seen]
    if numpy.ptp(right / samples) < 1e-12:
        return bootstrap_interval(right / samples, (0.0, 1.0), resamples, seed)
    return _resampled(lambda drawn: right[drawn].sum(1) / samples[drawn].sum(1), len(samples), resamples, seed)


def crossed_interval(
    values_S_P: numpy.ndarray, bounds: tuple[float, float], resamples: int, seed: int
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean when rows (seeds) and columns (problems) are both resampled.

    Owen 2007, "The pigeonhole bootstrap". With one seed it is the bootstrap over problems, and where every problem has
    the same mean over seeds it is that one's exact bound. With two or three seeds it still understates the chance
    among seeds, by a factor of about (S - 1) / S in variance: read every seed's own score beside it.
    """
    seeds, problems = values_S_P.shape
    if seeds == 1 or numpy.ptp(values_S_P.mean(0)) < 1e-12:
        return bootstrap_interval(values_S_P.mean(0), bounds, resamples, seed)
    generator = numpy.random.default_rng(seed)
    means = numpy.empty(resamples)
    for place in range(resamples):
        drawn = values_S_P[generator.integers(seeds, size=seeds)].mean(0)
        means[place] = drawn[generator.integers(problems, size=problems)].mean()
    return _percentiles(means)


def _resampled(
    statistic: Callable[[numpy.ndarray], numpy.ndarray], problems: int, resamples: int, seed: int
) -> tuple[float, float]:
    """The interval of a statistic of drawn problems, which takes their places, shape (resamples, problems)."""
    generator = numpy.random.default_rng(seed)
    at_once = max(1, CHUNK // problems)
    values = numpy.empty(resamples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        values[start : start + size] = statistic(generator.integers(problems, size=(size, problems)))
    return _percentiles(values)


def _percentiles(values: numpy.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _common(runs: Sequence[Counts], k: int) -> list[list[ProblemCounts]]:
    """Each run's counts of the problems that every run can estimate, in one order."""
    for run in runs[1:]:
        if run.keys() != runs[0].keys():
            odd = sorted(run.keys() ^ runs[0].keys())
            raise InputError(
                f"models can only be compared on the same problems; {len(odd)} are in one result alone, the first is "
                f"{odd[0]}. Evaluate all of them on the same benchmark."
            )
    names = [name for name in sorted(runs[0]) if all(run[name].samples >= k for run in runs)]
    return [[run[name] for name in names] for run in runs]


def _values(runs: Sequence[Sequence[ProblemCounts]], k: int) -> numpy.ndarray:
    """pass@k, shape (seeds, problems)."""
    return numpy.stack([pass_at_k([one.samples for one in run], [one.correct for one in run], k) for run in runs])


def _estimate(
    values_S_P: numpy.ndarray,
    bounds: tuple[float, float],
    counts: Sequence[ProblemCounts],
    left_out: int,
    resamples: int,
    seed: int,
) -> Estimate:
    samples, problems = sum(count.samples for count in counts), values_S_P.shape[1]
    if not problems:
        return Estimate(None, None, 0, samples, left_out)
    interval = crossed_interval(values_S_P, bounds, resamples, seed)
    return Estimate(float(values_S_P.mean()), interval, problems, samples, left_out)
