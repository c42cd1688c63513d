"""What an evaluation leaves of one model: scores.json with pass@k, its intervals and other views of the same verdicts,
and tables; and how they are read back.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict, TypeVar, cast

import numpy

from evaluation.benchmark import Benchmark, Decontamination
from evaluation.judging import FAILURES, DifferenceCounts, SampleVerdict, count_differences
from evaluation.measurement import Measurement, ResultLayout
from evaluation.prompting import Extraction
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts, estimate_pass_at_k, ratio_interval
from xcoder_core.errors import InputError
from xcoder_core.problem import Problem
from xcoder_core.records import read_records
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import read_result

NOT_SAID: Decontamination = {"status": "unknown", "said": "nothing is known of the training data"}
LENGTH_EDGES = (0, 1024, 2048, 4096, 8192, 16384, 32768)
"""Tokens of a response at which one bin ends and the next begins; the last bin has no end."""


class Score(TypedDict):
    """A pass@k. `by_<grouping>` stands beside these and maps each group to its own (`part_of`)."""

    mean: float | None
    ci95: Sequence[float] | None
    problems: int
    samples: int
    left_out: int


class Difference(TypedDict):
    """A paired difference of two models' pass@k, with `by_<grouping>` as in `Score`."""

    difference: float | None
    ci95: Sequence[float] | None
    problems: int
    left_out: int


class Average(TypedDict):
    """avg@n. `std` is that of a sample of n runs (n - 1 in the denominator), None for one run."""

    n: int
    mean: float | None
    std: float | None
    runs: list[float]


class CurvePoint(TypedDict):
    """pass@k for one of all k."""

    k: int
    mean: float | None
    ci95: Sequence[float] | None
    left_out: int


LengthBin = TypedDict(
    "LengthBin",
    {"from": int, "below": int | None, "samples": int, "right": int, "share": float, "ci95": Sequence[float]},
)
"""Responses of `from` to `below` tokens, and how many of them are right."""


class PolicyScores(TypedDict):
    """The figures of a benchmark under one policy. A `pass_at_<k>` for each k stands beside these (`score_at`)."""

    failures: dict[str, int]
    invalid: int
    average_over_runs: Average
    pass_at_every_k: list[CurvePoint]


class BenchmarkScores(PolicyScores):
    """The figures of a benchmark under the first policy, and what is independent of it."""

    description: str
    grouping: str
    groups: list[str]
    prompt_tokens: int
    completion_tokens: int
    truncated: int
    decontamination: Decontamination
    by_length: list[LengthBin]
    policies: NotRequired[dict[str, PolicyScores]]


class Scores(TypedDict):
    """The whole of scores.json."""

    label: str
    seed: int
    samples_per_problem: int
    k: list[int]
    bootstrap: int
    sampling: dict[str, float]
    dtype: str | None
    extraction: Extraction
    policy: str
    benchmarks: dict[str, BenchmarkScores]
    policy_differences: NotRequired[DifferenceCounts]


Differences = Mapping[str, Mapping[str, Mapping[str, Difference]]]
"""Paired differences by models ("sft - base"), benchmark and "pass_at_<k>"."""
Part = TypeVar("Part", Score, Difference)


def score_at(figures: PolicyScores, k: int) -> Score:
    """The pass@k among the figures of a benchmark."""
    return cast(Mapping[str, Score], figures)[f"pass_at_{k}"]


def groups_of(whole: Part, grouping: str) -> dict[str, Part]:
    """What a pass@k, or a difference, is for each group; nothing where there is no such grouping."""
    return cast(Mapping[str, dict[str, Part]], whole).get(f"by_{grouping}", {})


def part_of(whole: Part, grouping: str, group: str | None) -> Part:
    """A pass@k, or a difference, for one group; for all problems where that is None."""
    return whole if group is None else groups_of(whole, grouping)[group]


def count_verdicts(benchmarks: Sequence[Benchmark], verdicts: Iterable[SampleVerdict]) -> list[ProblemCounts]:
    """Valid, correct and invalid samples of each problem."""
    failures: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        failures.setdefault(verdict.problem_id, Counter())[verdict.failure] += 1
    return [
        ProblemCounts(
            problem_id=problem.problem_id,
            benchmark=benchmark.name,
            group=benchmark.group[problem.problem_id],
            samples=seen.total() - seen["invalid"],
            correct=seen["none"],
            invalid=seen["invalid"],
        )
        for benchmark in benchmarks
        for problem in benchmark.problems
        for seen in (failures[problem.problem_id],)
    ]


def make_scores(measurement: Measurement) -> Scores:
    """The contents of scores.json, from the tables of samples and verdicts."""
    settings, layout, tables = measurement.settings, measurement.layout, measurement.verdict_tables
    verdicts = {policy: list(read_records(table, SampleVerdict)) for policy, table in tables.items()}
    samples = [replace(sample, completion="") for sample in read_records(layout.samples, Sample)]
    scores: Scores = {
        "label": measurement.label,
        "seed": measurement.seed,
        "samples_per_problem": settings.samples,
        "k": list(settings.k),
        "bootstrap": settings.bootstrap,
        "sampling": settings.sampling.model_dump(mode="json"),
        "dtype": settings.sampled_in,
        "extraction": settings.extraction,
        "policy": next(iter(tables)),
        "benchmarks": {},
    }
    if len(tables) > 1:
        scores["policy_differences"] = count_differences(layout.policy_differences)
    for benchmark in measurement.benchmarks:
        ids = benchmark.by_id.keys()
        mine = [sample for sample in samples if sample.problem_id in ids]
        under = {policy: [row for row in rows if row.problem_id in ids] for policy, rows in verdicts.items()}
        first, *others = (_score(measurement, benchmark, rows) for rows in under.values())
        lengths = {(sample.problem_id, sample.sample_index): sample.completion_tokens for sample in mine}
        length_seed = derive_seed(measurement.seed, "bootstrap", "length", benchmark.name)
        entry: BenchmarkScores = {
            "description": benchmark.description,
            "grouping": benchmark.grouping,
            "groups": benchmark.groups,
            "prompt_tokens": sum(sample.prompt_tokens for sample in mine),
            "completion_tokens": sum(sample.completion_tokens for sample in mine),
            "truncated": sum(sample.finish_reason == "length" for sample in mine),
            "decontamination": measurement.decontamination.get(benchmark.name, NOT_SAID),
            **first,
            "by_length": by_length(next(iter(under.values())), lengths, settings.bootstrap, length_seed),
        }
        if others:
            entry["policies"] = dict(zip(under, [first, *others], strict=True))
        scores["benchmarks"][benchmark.name] = entry
    return scores


def _score(measurement: Measurement, benchmark: Benchmark, verdicts: Sequence[SampleVerdict]) -> PolicyScores:
    failures = Counter(verdict.failure for verdict in verdicts)
    counts = count_verdicts([benchmark], verdicts)
    resamples, seed = measurement.settings.bootstrap, measurement.seed
    scores: PolicyScores = {
        "failures": {name: failures[name] for name in (*FAILURES.values(), "truncated")},
        "invalid": sum(count.invalid for count in counts),
        "average_over_runs": average_over_runs(verdicts),
        "pass_at_every_k": every_k(counts, resamples, derive_seed(seed, "bootstrap", benchmark.name, "every k")),
    }
    groupings = {benchmark.grouping: benchmark.group, **benchmark.breakdowns}
    by_k: dict[str, object] = {}
    for k in measurement.settings.k:
        seed_of_k = derive_seed(seed, "bootstrap", benchmark.name, k)
        whole: dict[str, object] = {**_mean(counts, k, resamples, seed_of_k)}
        for grouping, group_of in groupings.items():
            found = sorted({group_of[problem.problem_id] for problem in benchmark.problems})
            whole[f"by_{grouping}"] = {
                group: _mean([c for c in counts if group_of[c.problem_id] == group], k, resamples, seed_of_k)
                for group in (benchmark.groups if grouping == benchmark.grouping else found)
            }
        by_k[f"pass_at_{k}"] = whole
    return cast(PolicyScores, {**scores, **by_k})


def _mean(counts: Sequence[ProblemCounts], k: int, resamples: int, seed: int) -> Score:
    return cast(Score, asdict(estimate_pass_at_k(counts, k, resamples, seed)))


def average_over_runs(verdicts: Iterable[SampleVerdict]) -> Average:
    """avg@n and its standard deviation: run i is every problem's sample i, its score the share that is right.

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


def every_k(counts: Sequence[ProblemCounts], resamples: int, seed: int) -> list[CurvePoint]:
    """pass@k with its interval for each k from 1 to the samples that problems have; never beyond."""
    curve: list[CurvePoint] = []
    for k in range(1, max((count.samples for count in counts), default=0) + 1):
        estimate = estimate_pass_at_k(counts, k, resamples, seed)
        curve.append({"k": k, "mean": estimate.mean, "ci95": estimate.ci95, "left_out": estimate.left_out})
    return curve


def by_length(
    verdicts: Iterable[SampleVerdict], tokens: Mapping[tuple[str, int], int], resamples: int, seed: int
) -> list[LengthBin]:
    """The share of right samples per bin of response length, with an interval over problems; empty bins are left out.

    `tokens` maps (problem_id, sample_index) to the response's length. A truncated response counts with the length at
    which it was cut off.
    """
    valid = [verdict for verdict in verdicts if verdict.failure != "invalid"]
    places = {name: place for place, name in enumerate(dict.fromkeys(verdict.problem_id for verdict in valid))}
    samples, right = numpy.zeros((2, len(LENGTH_EDGES), len(places)))
    for verdict in valid:
        length = tokens[verdict.problem_id, verdict.sample_index]
        cell = int(numpy.searchsorted(LENGTH_EDGES, length, side="right")) - 1, places[verdict.problem_id]
        samples[cell] += 1
        right[cell] += verdict.failure == "none"
    bins: list[LengthBin] = []
    for index, (start, end) in enumerate(zip(LENGTH_EDGES, [*LENGTH_EDGES[1:], None], strict=True)):
        in_bin, right_in_bin = samples[index].sum(), right[index].sum()
        if in_bin:
            bins.append(
                {
                    "from": start,
                    "below": end,
                    "samples": int(in_bin),
                    "right": int(right_in_bin),
                    "share": float(right_in_bin / in_bin),
                    "ci95": ratio_interval(right[index], samples[index], resamples, seed),
                }
            )
    return bins


@dataclass(frozen=True)
class ModelResult:
    """A finished evaluation: `scores` as in scores.json, `counts` per problem, sorted by problem_id."""

    label: str
    folder: Path
    scores: Scores
    counts: tuple[ProblemCounts, ...]

    @property
    def layout(self) -> ResultLayout:
        """Where its files stand."""
        return ResultLayout(self.folder)

    @property
    def judge_tiers(self) -> list[str]:
        """The isolation tiers that the judge had: "A", "B", or "none" where nothing confined the programs."""
        return json.loads(self.layout.tiers.read_text(encoding="utf-8"))

    def problems(self) -> Iterator[Problem]:
        """The problems, by problem_id."""
        return read_records(self.layout.problems, Problem)

    def verdicts(self) -> Iterator[SampleVerdict]:
        """The verdicts, by (problem_id, sample_index)."""
        return read_records(self.layout.verdicts, SampleVerdict)


def load_result(folder: Path) -> ModelResult:
    """Read back a finished evaluation of one model."""
    layout = ResultLayout(folder)
    if not layout.scores.exists():
        raise InputError(f"{folder} holds no finished evaluation; {layout.scores.name} is missing. Run `xcoder eval`.")
    scores = json.loads(layout.scores.read_text(encoding="utf-8"))
    if "policy" not in scores:
        raise InputError(f"{folder} was evaluated by an earlier version, which kept less. Run `xcoder eval` again.")
    return ModelResult(scores["label"], folder, scores, tuple(read_records(layout.counts, ProblemCounts)))


def load_results(stage_folder: Path) -> dict[str, ModelResult]:
    """The models of a finished evaluation stage, by label in the order of its recipe.

    The stage's result file maps each label to the folder of its result; results of earlier settings may lie beside.
    """
    return {label: load_result(stage_folder / name) for label, name in read_result(stage_folder)["models"].items()}


def entries_of(results: Mapping[str, ModelResult], benchmark: str) -> dict[str, BenchmarkScores]:
    """By model, what the scores hold of a benchmark."""
    return {label: result.scores["benchmarks"][benchmark] for label, result in results.items()}
