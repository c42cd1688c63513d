"""Other views of the same verdicts: each run on its own, every k, and the length of a response."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy

from evaluation.judging import SampleVerdict
from evaluation.scores import ProblemCounts, estimate_pass_at_k, ratio_interval

LENGTH_EDGES = (0, 1024, 2048, 4096, 8192, 16384, 32768)
"""Tokens of a response at which one bin ends and the next begins; the last bin has no end."""


def average_over_runs(verdicts: Iterable[SampleVerdict]) -> dict[str, Any]:
    """avg@n and its standard deviation: run i is every problem's sample i, its score the share that is right.

    {"n", "mean", "std", "runs"}; `std` is that of a sample of n runs (n - 1 in the denominator), None for one run.
    Invalid samples are left out of their run. The standard deviation says how runs differ on these problems, the
    interval of pass@1 how problems differ: neither stands for the other.
    """
    right: dict[int, list[bool]] = {}
    for verdict in verdicts:
        if verdict.failure != "invalid":
            right.setdefault(verdict.sample_index, []).append(verdict.failure == "none")
    runs = [float(numpy.mean(right[index])) for index in sorted(right)]
    return {
        "n": len(runs),
        "mean": float(numpy.mean(runs)) if runs else None,
        "std": float(numpy.std(runs, ddof=1)) if len(runs) > 1 else None,
        "runs": runs,
    }


def every_k(counts: Sequence[ProblemCounts], resamples: int, seed: int) -> list[dict[str, Any]]:
    """pass@k with its interval for each k from 1 to the samples that problems have; never beyond."""
    curve = []
    for k in range(1, max((count.samples for count in counts), default=0) + 1):
        estimate = estimate_pass_at_k(counts, k, resamples, seed)
        curve.append({"k": k, "mean": estimate.mean, "ci95": estimate.interval, "left_out": estimate.left_out})
    return curve


def by_length(
    verdicts: Iterable[SampleVerdict], tokens: Mapping[tuple[str, int], int], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """The share of right samples per bin of response length, with an interval over problems; empty bins are left out.

    `tokens` maps (problem_id, sample_index) to the response's length. A truncated response counts with the length at
    which it was cut off.
    """
    places: dict[str, int] = {}
    rows: list[tuple[int, int, bool]] = []
    edges = numpy.array(LENGTH_EDGES)
    for verdict in verdicts:
        if verdict.failure == "invalid":
            continue
        place = places.setdefault(verdict.problem_id, len(places))
        length = tokens[verdict.problem_id, verdict.sample_index]
        rows.append((place, int(numpy.searchsorted(edges, length, side="right")) - 1, verdict.failure == "none"))
    samples, right = numpy.zeros((len(edges), len(places))), numpy.zeros((len(edges), len(places)))
    for place, bin_index, is_right in rows:
        samples[bin_index, place] += 1
        right[bin_index, place] += is_right
    bins = []
    for index, (start, end) in enumerate(pairwise([*LENGTH_EDGES, None])):
        if samples[index].sum():
            low, high = ratio_interval(right[index], samples[index], resamples, seed)
            bins.append(
                {
                    "from": start,
                    "below": end,
                    "samples": int(samples[index].sum()),
                    "right": int(right[index].sum()),
                    "share": float(right[index].sum() / samples[index].sum()),
                    "ci95": [low, high],
                }
            )
    return bins
