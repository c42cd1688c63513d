"""Evaluation of a model on benchmarks, from prompts to scores, and what follows from several models' scores."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.config import EvaluationSettings
from evaluation.heldout import load_heldout
from evaluation.judging import FAILURES, SampleVerdict, judge_samples
from evaluation.livecodebench import load_livecodebench
from evaluation.results import ModelResult, ResultLayout, load_result
from evaluation.samples import Sample, sample_completions
from evaluation.scores import Estimate, ProblemCounts, estimate_difference, estimate_pass_at_k
from reward.config import JudgeSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_json
from xcoder_train.core.generation.request import Generator
from xcoder_train.core.problem import Problem
from xcoder_train.core.prompt import PromptStyle
from xcoder_train.core.records import read_records, write_records
from xcoder_train.core.seeds import derive_seed


def load_benchmarks(names: Sequence[str], synth_folder: Path | None) -> list[Benchmark]:
    """The benchmarks that `evaluation.benchmarks` names: `heldout` of a finished synthesis, or `file:PATH`."""
    benchmarks = []
    for name in names:
        if name == "heldout":
            if synth_folder is None:
                raise InputError("the benchmark `heldout` needs a finished synthesis; add `synth:` or `inputs: synth`")
            benchmarks.append(load_heldout(synth_folder))
        elif name.startswith("file:"):
            benchmarks.append(load_livecodebench(Path(name.removeprefix("file:")).expanduser()))
        else:
            raise InputError(f"evaluation.benchmarks: {name!r} is neither `heldout` nor `file:PATH`")
    return benchmarks


def evaluate_model(
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    generator: Generator,
    folder: Path,
    seed: int,
    prompt_style: PromptStyle,
) -> ModelResult:
    """Sample, judge and score one model; leaves the files of `ResultLayout` in `folder` and goes on from what is there.

    Raises `InputError` where `folder` was begun for something else, `InfrastructureError` where too many samples have
    no verdict.
    """
    if max(settings.k) > settings.samples:
        raise InputError(f"pass@{max(settings.k)} needs at least as many samples per problem, found {settings.samples}")
    layout = ResultLayout(folder)
    problems = _all_problems(benchmarks)
    _hold_to_plan(layout, settings, judge_settings, benchmarks, label, seed, prompt_style)
    if not layout.problems.exists():
        write_records(layout.problems, Problem, problems.values(), ("problem_id",))
    with _Stopwatch(layout.timings, "sampling"):
        sample_completions(
            list(problems.values()),
            settings.samples,
            settings.sampling,
            generator,
            layout.samples,
            seed,
            prompt_style,
            settings.maximum_invalid_share,
        )
    with _Stopwatch(layout.timings, "judging"):
        tests = {problem_id: cases for benchmark in benchmarks for problem_id, cases in benchmark.tests.items()}
        judge_samples(
            layout.samples,
            layout.verdicts,
            layout.tiers,
            problems,
            tests,
            judge_settings,
            settings.maximum_invalid_share,
        )
    counts = _count(benchmarks, read_records(layout.verdicts, SampleVerdict))
    write_records(layout.counts, ProblemCounts, counts, ("problem_id",))
    write_json(layout.scores, _score(settings, benchmarks, label, counts, layout, seed))
    return load_result(folder)


def compare(results: Mapping[str, ModelResult]) -> dict[str, Any]:
    """Paired differences of each model and the one before it, on the same problems, with 95 % intervals.

    {"sft - base": {benchmark: {"pass_at_1": {"difference", "ci95", "problems", "left_out", "by_<grouping>": {…}}}}}
    Raises InputError where two models were not evaluated on the same problems.
    """
    differences: dict[str, Any] = {}
    for before, after in pairwise(results.values()):
        scores = after.scores
        per_benchmark: dict[str, Any] = {}
        for name, benchmark in scores["benchmarks"].items():
            first, second = ([c for c in result.counts if c.benchmark == name] for result in (before, after))
            per_benchmark[name] = {}
            for k in scores["k"]:
                seed = derive_seed(scores["seed"], "bootstrap", "difference", name, k)
                estimates = {
                    group: estimate_difference(
                        {count.problem_id: count for count in first if group in (None, count.group)},
                        {count.problem_id: count for count in second if group in (None, count.group)},
                        k,
                        scores["bootstrap"],
                        seed,
                    )
                    for group in (None, *benchmark["groups"])
                }
                entry = _difference(estimates.pop(None))
                entry[f"by_{benchmark['grouping']}"] = {str(g): _difference(e) for g, e in estimates.items()}
                per_benchmark[name][f"pass_at_{k}"] = entry
        differences[f"{after.label} - {before.label}"] = per_benchmark
    return differences


def summarise(results: Mapping[str, ModelResult]) -> dict[str, Any]:
    """The headline of a run: {"pass_at_1": {label: {"mean", "ci95", "problems", "samples", "by_depth": {…}}}, …}.

    It is that of the first benchmark, which `benchmark` names; the others follow in the same form under
    `other_benchmarks`.
    """
    scores = {label: result.scores for label, result in results.items()}
    first, *others = next(iter(scores.values()))["benchmarks"]

    def of(benchmark: str) -> dict[str, Any]:
        keys = [f"pass_at_{k}" for k in next(iter(scores.values()))["k"]]
        return {key: {label: score["benchmarks"][benchmark][key] for label, score in scores.items()} for key in keys}

    summary = {"benchmark": first, **of(first)}
    if others:
        summary["other_benchmarks"] = {name: of(name) for name in others}
    return summary


def _all_problems(benchmarks: Sequence[Benchmark]) -> dict[str, Problem]:
    """The problems of all benchmarks by problem_id; what two of them share would be counted twice."""
    home: dict[str, str] = {}
    problems: dict[str, Problem] = {}
    names = [benchmark.name for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise InputError(f"two benchmarks have the same name among {', '.join(names)}; rename a file")
    for benchmark in benchmarks:
        for problem in benchmark.problems:
            if problem.problem_id in home:
                raise InputError(
                    f"problem {problem.problem_id} ({problem.source}) is in the benchmarks {home[problem.problem_id]} "
                    f"and {benchmark.name}; evaluate them in separate runs, or leave one out"
                )
            home[problem.problem_id] = benchmark.name
            problems[problem.problem_id] = problem
    if not problems:
        raise InputError("evaluation.benchmarks is empty; expected `heldout` or `file:PATH`")
    return problems


def _hold_to_plan(
    layout: ResultLayout,
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    seed: int,
    prompt_style: PromptStyle,
) -> None:
    """Write down what this folder is for, or refuse it where it was begun for something else."""
    plan = {
        "label": label,
        "seed": seed,
        "samples": settings.samples,
        "sampling": settings.sampling.model_dump(mode="json"),
        "prompt": prompt_style,
        "judge_policy": judge_settings.policy,
        "benchmarks": {benchmark.name: _fingerprint(benchmark) for benchmark in benchmarks},
    }
    if not layout.plan.exists():
        write_json(layout.plan, plan)
        return
    begun = json.loads(layout.plan.read_text(encoding="utf-8"))
    differing = [name for name in plan if plan[name] != begun.get(name)]
    if differing:
        name = differing[0]
        raise InputError(
            f"{layout.folder} was begun with {name} = {begun.get(name)!r}, now asked for {plan[name]!r}; "
            "evaluate into another folder, or delete this one"
        )


def _fingerprint(benchmark: Benchmark) -> str:
    """16 hex digits over the problems and tests, so that a changed benchmark is not mistaken for the old one."""
    digest = hashlib.sha256()
    for problem in sorted(benchmark.problems, key=lambda problem: problem.problem_id):
        digest.update(repr(problem).encode())
        for case in benchmark.tests[problem.problem_id]:
            digest.update(repr((case.input, case.expected)).encode())
    return digest.hexdigest()[:16]


def _count(benchmarks: Sequence[Benchmark], verdicts: Any) -> list[ProblemCounts]:
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


def _score(
    settings: EvaluationSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    counts: Sequence[ProblemCounts],
    layout: ResultLayout,
    seed: int,
) -> dict[str, Any]:
    """What scores.json holds."""
    benchmark_of = {count.problem_id: count.benchmark for count in counts}
    failures = {benchmark.name: Counter[str]() for benchmark in benchmarks}
    prompt_tokens, completion_tokens, truncated = Counter[str](), Counter[str](), Counter[str]()
    for verdict in read_records(layout.verdicts, SampleVerdict):
        failures[benchmark_of[verdict.problem_id]][verdict.failure] += 1
    for sample in read_records(layout.samples, Sample):
        prompt_tokens[benchmark_of[sample.problem_id]] += sample.prompt_tokens
        completion_tokens[benchmark_of[sample.problem_id]] += sample.completion_tokens
        truncated[benchmark_of[sample.problem_id]] += sample.finish_reason == "length"
    scores: dict[str, Any] = {
        "label": label,
        "seed": seed,
        "samples_per_problem": settings.samples,
        "k": list(settings.k),
        "bootstrap": settings.bootstrap,
        "sampling": settings.sampling.model_dump(mode="json"),
        "benchmarks": {},
    }
    for benchmark in benchmarks:
        mine = [count for count in counts if count.benchmark == benchmark.name]
        entry: dict[str, Any] = {
            "description": benchmark.description,
            "grouping": benchmark.grouping,
            "groups": benchmark.groups,
            "failures": {name: failures[benchmark.name][name] for name in (*FAILURES.values(), "truncated")},
            "invalid": sum(count.invalid for count in mine),
            "prompt_tokens": prompt_tokens[benchmark.name],
            "completion_tokens": completion_tokens[benchmark.name],
            "truncated": truncated[benchmark.name],
        }
        for k in settings.k:
            bootstrap_seed = derive_seed(seed, "bootstrap", benchmark.name, k)
            estimates = {
                group: estimate_pass_at_k(
                    [count for count in mine if group in (None, count.group)], k, settings.bootstrap, bootstrap_seed
                )
                for group in (None, *benchmark.groups)
            }
            score = _mean(estimates.pop(None))
            score[f"by_{benchmark.grouping}"] = {str(group): _mean(e) for group, e in estimates.items()}
            entry[f"pass_at_{k}"] = score
        scores["benchmarks"][benchmark.name] = entry
    return scores


def _mean(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": estimate.mean,
        "ci95": _interval(estimate),
        "problems": estimate.problems,
        "samples": estimate.samples,
        "left_out": estimate.left_out,
    }


def _difference(estimate: Estimate) -> dict[str, Any]:
    return {
        "difference": estimate.mean,
        "ci95": _interval(estimate),
        "problems": estimate.problems,
        "left_out": estimate.left_out,
    }


def _interval(estimate: Estimate) -> list[float] | None:
    return None if estimate.low is None or estimate.high is None else [estimate.low, estimate.high]


class _Stopwatch:
    """Adds the seconds of a part to the side table, so that a resumed run counts all of its time."""

    def __init__(self, path: Path, part: str) -> None:
        self.path, self.part = path, part

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        seconds = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        seconds[self.part] = round(seconds.get(self.part, 0.0) + time.monotonic() - self.started, 3)
        write_json(self.path, seconds)
