"""pass@k of one design over several training seeds, and the paired difference of two designs.

Chance enters twice: which problems were drawn, and which seed a model was trained with. Both are resampled.
"""

from collections.abc import Mapping, Sequence

import numpy

from evaluation.scores import CONFIDENCE, Estimate, ProblemCounts, bootstrap_interval, pass_at_k
from xcoder_train.core.errors import InputError

Counts = Mapping[str, ProblemCounts]


def estimate_over_seeds(runs: Sequence[Counts], k: int, resamples: int, seed: int) -> Estimate:
    """Mean pass@k over seeds and problems. `runs` holds one seed's counts by problem_id each.

    A problem on which any seed has fewer than k valid samples is left out. InputError where problems differ.
    """
    names = _common(runs, k)
    return _estimate(_values(runs, names, k), (0.0, 1.0), runs, names, resamples, seed)


def estimate_difference_over_seeds(
    before: Sequence[Counts], after: Sequence[Counts], k: int, resamples: int, seed: int
) -> Estimate:
    """Mean of pass@k(after) - pass@k(before); paired by problem and by seed, so both hold the same seeds in order."""
    if len(before) != len(after):
        raise InputError(f"two designs with {len(before)} and {len(after)} seeds cannot be paired")
    names = _common([*before, *after], k)
    values_S_P = _values(after, names, k) - _values(before, names, k)
    return _estimate(values_S_P, (-1.0, 1.0), after, names, resamples, seed)


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
    tail = (1 - CONFIDENCE) / 2
    low, high = numpy.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _common(runs: Sequence[Counts], k: int) -> list[str]:
    """The problems that every run can estimate."""
    for run in runs[1:]:
        if run.keys() != runs[0].keys():
            odd = sorted(run.keys() ^ runs[0].keys())
            raise InputError(
                f"runs can only be compared on the same problems; {len(odd)} are in one result alone, the first is "
                f"{odd[0]}. Evaluate all of them on the same benchmark."
            )
    return [name for name in sorted(runs[0]) if all(run[name].samples >= k for run in runs)]


def _values(runs: Sequence[Counts], names: Sequence[str], k: int) -> numpy.ndarray:
    """pass@k, shape (seeds, problems)."""
    return numpy.stack(
        [pass_at_k([run[name].samples for name in names], [run[name].correct for name in names], k) for run in runs]
    )


def _estimate(
    values_S_P: numpy.ndarray,
    bounds: tuple[float, float],
    runs: Sequence[Counts],
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> Estimate:
    samples = sum(run[name].samples for run in runs for name in names)
    left_out = len(runs[0]) - len(names)
    if not names:
        return Estimate(None, None, None, 0, samples, left_out)
    low, high = crossed_interval(values_S_P, bounds, resamples, seed)
    return Estimate(float(values_S_P.mean()), low, high, len(names), samples, left_out)
