"""What scores.json holds of one model: pass@k with intervals, breakdowns, failures, policies, decontamination."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.breakdowns import average_over_runs, by_length, every_k
from evaluation.config import EvaluationSettings
from evaluation.judging import FAILURES, SampleVerdict
from evaluation.policies import count_differences
from evaluation.results import ResultLayout
from evaluation.samples import Sample
from evaluation.scores import Estimate, ProblemCounts, estimate_pass_at_k
from xcoder_core.records import read_records
from xcoder_core.seeds import derive_seed

NOT_SAID = {"status": "unknown", "said": "nothing is known of the training data"}


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


def make_scores(
    settings: EvaluationSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    tables: Mapping[str, Path],
    layout: ResultLayout,
    seed: int,
    decontamination: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The contents of scores.json. `tables` maps each policy to its verdicts; the first gives the scores."""
    verdicts = {policy: list(read_records(table, SampleVerdict)) for policy, table in tables.items()}
    samples = [replace(sample, completion="") for sample in read_records(layout.samples, Sample)]
    scores: dict[str, Any] = {
        "label": label,
        "seed": seed,
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
    for benchmark in benchmarks:
        ids = benchmark.by_id.keys()
        mine = {policy: [row for row in rows if row.problem_id in ids] for policy, rows in verdicts.items()}
        entry = _describe(benchmark, [sample for sample in samples if sample.problem_id in ids])
        entry["decontamination"] = dict(decontamination.get(benchmark.name, NOT_SAID))
        first, *others = mine
        entry |= _score(settings, benchmark, mine[first], seed)
        lengths = {(s.problem_id, s.sample_index): s.completion_tokens for s in samples if s.problem_id in ids}
        length_seed = derive_seed(seed, "bootstrap", "length", benchmark.name)
        entry["by_length"] = by_length(mine[first], lengths, settings.bootstrap, length_seed)
        if others:
            entry["policies"] = {policy: _score(settings, benchmark, rows, seed) for policy, rows in mine.items()}
        scores["benchmarks"][benchmark.name] = entry
    return scores


def describe_difference(estimate: Estimate) -> dict[str, Any]:
    """A paired difference as it stands in result files."""
    return {
        "difference": estimate.mean,
        "ci95": estimate.interval,
        "problems": estimate.problems,
        "left_out": estimate.left_out,
    }


def _describe(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "description": benchmark.description,
        "grouping": benchmark.grouping,
        "groups": benchmark.groups,
        "prompt_tokens": sum(sample.prompt_tokens for sample in samples),
        "completion_tokens": sum(sample.completion_tokens for sample in samples),
        "truncated": sum(sample.finish_reason == "length" for sample in samples),
    }


def _score(
    settings: EvaluationSettings, benchmark: Benchmark, verdicts: Sequence[SampleVerdict], seed: int
) -> dict[str, Any]:
    """The figures of one benchmark under one policy."""
    failures = Counter(verdict.failure for verdict in verdicts)
    counts = count_verdicts([benchmark], verdicts)
    every_seed = derive_seed(seed, "bootstrap", benchmark.name, "every k")
    entry: dict[str, Any] = {
        "failures": {name: failures[name] for name in (*FAILURES.values(), "truncated")},
        "invalid": sum(count.invalid for count in counts),
        "average_over_runs": average_over_runs(verdicts),
        "pass_at_every_k": every_k(counts, settings.bootstrap, every_seed),
    }
    groupings = {benchmark.grouping: benchmark.group, **benchmark.breakdowns}
    for k in settings.k:
        bootstrap_seed = derive_seed(seed, "bootstrap", benchmark.name, k)
        score = _mean(estimate_pass_at_k(counts, k, settings.bootstrap, bootstrap_seed))
        for grouping, group_of in groupings.items():
            found = {group_of[problem.problem_id] for problem in benchmark.problems}
            groups = benchmark.groups if grouping == benchmark.grouping else sorted(found)
            score[f"by_{grouping}"] = {
                group: _mean(
                    estimate_pass_at_k(
                        [count for count in counts if group_of[count.problem_id] == group],
                        k,
                        settings.bootstrap,
                        bootstrap_seed,
                    )
                )
                for group in groups
            }
        entry[f"pass_at_{k}"] = score
    return entry


def _mean(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": estimate.mean,
        "ci95": estimate.interval,
        "problems": estimate.problems,
        "samples": estimate.samples,
        "left_out": estimate.left_out,
    }
