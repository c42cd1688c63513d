"""Evaluation of a model on benchmarks, from prompts to scores, and what follows from several models' scores."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

from evaluation.benchmark import Benchmark
from evaluation.evalplus import STYLE
from evaluation.interchange import read_submission, write_official_files
from evaluation.judging import SampleVerdict, judge_samples, write_differences
from evaluation.measurement import Measurement
from evaluation.results import (
    Difference,
    Differences,
    ModelResult,
    Score,
    count_verdicts,
    entries_of,
    load_result,
    make_scores,
    score_at,
)
from evaluation.samples import KEY, Sample
from evaluation.scores import ProblemCounts, estimate_difference_over_seeds
from xcoder_core.errors import InputError
from xcoder_core.files import fingerprint, read_object, write_json
from xcoder_core.problem import Problem
from xcoder_core.records import read_records, write_records
from xcoder_core.seeds import derive_seed


def begin(measurement: Measurement) -> None:
    """Check that a measurement can be scored, and write down what its folder is for.

    Raises `InputError` where the folder was begun for something else.
    """
    settings, layout, problems = measurement.settings, measurement.layout, measurement.problems
    if max(settings.k) > settings.samples:
        raise InputError(f"pass@{max(settings.k)} needs at least as many samples per problem, found {settings.samples}")
    policies = list(measurement.verdict_tables)
    if "livecodebench" in policies and any(problem.style == STYLE for problem in problems.values()):
        raise InputError("HumanEval and MBPP are judged by their test programs under the policy `faithful` alone")
    plan = {
        "label": measurement.label,
        "seed": measurement.seed,
        "samples": settings.samples,
        "sampling": settings.sampling.model_dump(mode="json"),
        "dtype": settings.sampled_in,
        "prompt": measurement.prompt,
        "extraction": settings.extraction,
        "policies": policies,
        "benchmarks": {benchmark.name: _fingerprint(benchmark) for benchmark in measurement.benchmarks},
    }
    begun = read_object(layout.plan)
    for name in plan if begun else ():
        if plan[name] != begun.get(name):
            raise InputError(
                f"{layout.folder} was begun with {name} = {begun.get(name)!r}, now asked for {plan[name]!r}; "
                "evaluate into another folder, or delete this one"
            )
    if not begun:
        write_json(layout.plan, plan)
    if not layout.problems.exists():
        write_records(layout.problems, Problem, problems.values(), ("problem_id",))


def judge_and_score(measurement: Measurement) -> ModelResult:
    """What follows sampling and needs no model: verdicts on the samples, scores, official files.

    Goes on from what is there. Raises `InfrastructureError` where too many samples have no verdict.
    """
    layout, benchmarks = measurement.layout, measurement.benchmarks
    with measurement.timed("judging"):
        for policy in measurement.verdict_tables:
            judge_samples(measurement, policy)
    if len(measurement.verdict_tables) > 1:
        write_differences(measurement)
    counts = count_verdicts(benchmarks, read_records(layout.verdicts, SampleVerdict))
    write_records(layout.counts, ProblemCounts, counts, ("problem_id",))
    for benchmark in benchmarks:
        if benchmark.questions:
            write_official_files(measurement, benchmark)
    write_json(layout.scores, make_scores(measurement))
    return load_result(measurement.folder)


def rejudge(file: Path, measurement: Measurement) -> ModelResult:
    """Judge the programs of `file` (see `interchange`) on the measurement's one benchmark; no model is asked.

    The file says how many samples there are; each k of the settings that is beyond them is left out. A folder goes on
    where it was broken off; InputError where it was begun for another file, benchmark or policy.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a submission in an official format of LiveCodeBench")
    (benchmark,) = measurement.benchmarks
    programs = read_submission(file, benchmark)
    samples = len(next(iter(programs.values())))
    ks = tuple(k for k in measurement.settings.k if k <= samples) or (1,)
    settings = measurement.settings.model_copy(update={"samples": samples, "k": ks, "extraction": "given"})
    measurement = replace(measurement, settings=settings)
    begin(replace(measurement, label=f"{measurement.label} {fingerprint(file)}"))
    if not measurement.layout.samples.exists():
        rows = (  # how they were asked for, and how long the answers were, is not known
            Sample(name, index, 0, code, "stop", 0, 0, None)
            for name, codes in programs.items()
            for index, code in enumerate(codes)
        )
        write_records(measurement.layout.samples, Sample, rows, KEY)
    return judge_and_score(measurement)


def compare(results: Mapping[str, ModelResult]) -> Differences:
    """Paired differences of each model and the one before it, on the same problems, with 95 % intervals.

    Raises InputError where two models were not evaluated on the same problems.
    """
    return {
        f"{after.label} - {before.label}": _differences(before, after) for before, after in pairwise(results.values())
    }


def _differences(before: ModelResult, after: ModelResult) -> dict[str, dict[str, Difference]]:
    scores = after.scores

    def difference(name: str, k: int, group: str | None) -> Difference:
        first, second = (
            {c.problem_id: c for c in result.counts if c.benchmark == name and group in (None, c.group)}
            for result in (before, after)
        )
        seed = derive_seed(scores["seed"], "bootstrap", "difference", name, k)
        found = estimate_difference_over_seeds([first], [second], k, scores["bootstrap"], seed)
        return {
            "difference": found.mean,
            "ci95": found.ci95,
            "problems": found.problems,
            "left_out": found.left_out,
        }

    def with_groups(name: str, k: int) -> Difference:
        benchmark = scores["benchmarks"][name]
        by_group = {group: difference(name, k, group) for group in benchmark["groups"]}
        return cast(Difference, {**difference(name, k, None), f"by_{benchmark['grouping']}": by_group})

    return {name: {f"pass_at_{k}": with_groups(name, k) for k in scores["k"]} for name in scores["benchmarks"]}


def summarise(results: Mapping[str, ModelResult]) -> dict[str, object]:
    """The headline of a run: {"pass_at_1": {label: {"mean", "ci95", "problems", "samples", "by_depth": {…}}}, …}.

    It is that of the first benchmark, which `benchmark` names; the others follow in the same form under
    `other_benchmarks`.
    """
    scores = next(iter(results.values())).scores

    def of(benchmark: str) -> dict[str, dict[str, Score]]:
        entries = entries_of(results, benchmark)
        return {f"pass_at_{k}": {label: score_at(entry, k) for label, entry in entries.items()} for k in scores["k"]}

    first, *others = scores["benchmarks"]
    rest = {"other_benchmarks": {name: of(name) for name in others}} if others else {}
    return {"benchmark": first, **of(first), **rest}


def _fingerprint(benchmark: Benchmark) -> str:
    """16 hex digits over the problems and tests, so that a changed benchmark is not mistaken for the old one."""
    digest = hashlib.sha256()
    for problem in sorted(benchmark.problems, key=lambda problem: problem.problem_id):
        digest.update(repr(problem).encode())
        if benchmark.test_digests is not None:
            digest.update(benchmark.test_digests[problem.problem_id].encode())
            continue
        for case in benchmark.tests[problem.problem_id]:
            digest.update(repr((case.input, case.expected)).encode())
    return digest.hexdigest()[:16]
