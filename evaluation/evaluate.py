"""Evaluation of a model on benchmarks, from prompts to scores, and what follows from several models' scores."""

import hashlib
import json
import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.benchmarks import all_problems
from evaluation.config import EvaluationSettings
from evaluation.evalplus import STYLE
from evaluation.extraction import extractor
from evaluation.few_shot import EvaluationPrompt
from evaluation.interchange import read_submission, write_official_files, write_samples
from evaluation.judging import SampleVerdict, judge_samples
from evaluation.policies import write_differences
from evaluation.results import ModelResult, ResultLayout, load_result
from evaluation.samples import sample_together
from evaluation.score_file import count_verdicts, describe_difference, make_scores
from evaluation.scores import ProblemCounts, estimate_difference
from reward.config import JudgeSettings
from xcoder_core.errors import InputError
from xcoder_core.files import fingerprint, write_json
from xcoder_core.models.request import Generator
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.seeds import derive_seed
from xcoder_core.share import WHOLE, Share


def evaluate_model(
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    generator: Generator,
    folder: Path,
    seed: int,
    prompt_style: EvaluationPrompt,
    decontamination: Mapping[str, Mapping[str, Any]] | None = None,
    share: Share = WHOLE,
) -> ModelResult:
    """Sample, judge and score one model; leaves the files of `ResultLayout` in `folder` and goes on from what is there.

    Of several processes the first one calls this, with its `share`, and the others `sample_together`.
    `decontamination` maps a benchmark to what `decontamination_status` says of the model's training data. Raises
    `InputError` where `folder` was begun for something else, `InfrastructureError` where too many samples have no
    verdict.
    """
    if max(settings.k) > settings.samples:
        raise InputError(f"pass@{max(settings.k)} needs at least as many samples per problem, found {settings.samples}")
    layout = ResultLayout(folder)
    problems = all_problems(benchmarks)
    policies = settings.policies or (judge_settings.policy,)
    if "livecodebench" in policies and any(problem.style == STYLE for problem in problems.values()):
        raise InputError("HumanEval and MBPP are judged by their test programs under the policy `faithful` alone")
    hold_to_plan(layout, settings, policies, benchmarks, label, seed, prompt_style)
    if not layout.problems.exists():
        write_records(layout.problems, Problem, problems.values(), ("problem_id",))
    with _Stopwatch(layout.timings, "sampling"):
        sample_together(list(problems.values()), settings, generator, layout.samples, seed, prompt_style, share)
    return judge_and_score(settings, judge_settings, benchmarks, label, folder, seed, decontamination or {})


def judge_and_score(
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    folder: Path,
    seed: int,
    decontamination: Mapping[str, Mapping[str, Any]],
) -> ModelResult:
    """The half of `evaluate_model` that needs no model: verdicts on the samples in `folder`, scores, official files."""
    layout = ResultLayout(folder)
    policies = settings.policies or (judge_settings.policy,)
    tables: dict[str, Path] = {policies[0]: layout.verdicts}
    tables |= {policy: layout.verdicts_under(policy) for policy in policies[1:]}
    extract = extractor(settings.extraction)
    # Tests may lie in files of gigabytes: they are looked up, never gathered.
    tests: Mapping[str, tuple[TestCase, ...]] = ChainMap(*(b.tests for b in benchmarks))  # type: ignore[arg-type]
    with _Stopwatch(layout.timings, "judging"):
        for policy, table in tables.items():
            judge_samples(
                layout.samples,
                table,
                layout.tiers,
                all_problems(benchmarks),
                tests,
                judge_settings.model_copy(update={"policy": policy}),
                settings.maximum_invalid_share,
                extract,
            )
    if len(policies) > 1:
        first, second = tables.items()
        write_differences(layout.samples, first, second, layout.policy_differences, extract)
    counts = count_verdicts(benchmarks, read_records(layout.verdicts, SampleVerdict))
    write_records(layout.counts, ProblemCounts, counts, ("problem_id",))
    for benchmark in benchmarks:
        if benchmark.questions:
            write_official_files(layout, benchmark, settings, extract)
    write_json(layout.scores, make_scores(settings, benchmarks, label, tables, layout, seed, decontamination))
    return load_result(folder)


def rejudge(
    file: Path,
    benchmark: Benchmark,
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    label: str,
    folder: Path,
    seed: int,
) -> ModelResult:
    """Judge the programs of `file` (see `interchange`) and leave the files of `ResultLayout` in `folder`; no model is
    asked.

    The file says how many samples there are; each k of the settings that is beyond them is left out. A folder goes on
    where it was broken off; InputError where it was begun for another file, benchmark or policy.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a submission in an official format of LiveCodeBench")
    layout = ResultLayout(folder)
    programs = read_submission(file, benchmark)
    samples = len(next(iter(programs.values())))
    asked = settings.model_copy(
        update={"samples": samples, "k": tuple(k for k in settings.k if k <= samples) or (1,), "extraction": "given"}
    )
    policies = asked.policies or (judge_settings.policy,)
    hold_to_plan(layout, asked, policies, [benchmark], f"{label} {fingerprint(file)}", seed, "plain")
    if not layout.problems.exists():
        write_records(layout.problems, Problem, benchmark.problems, ("problem_id",))
    if not layout.samples.exists():
        write_samples(layout, programs)
    return judge_and_score(asked, judge_settings, [benchmark], label, folder, seed, {})


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
                entry = describe_difference(estimates.pop(None))
                entry[f"by_{benchmark['grouping']}"] = {str(g): describe_difference(e) for g, e in estimates.items()}
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


def hold_to_plan(
    layout: ResultLayout,
    settings: EvaluationSettings,
    policies: Sequence[str],
    benchmarks: Sequence[Benchmark],
    label: str,
    seed: int,
    prompt_style: EvaluationPrompt,
) -> None:
    """Write down what this folder is for, or refuse it where it was begun for something else."""
    plan = {
        "label": label,
        "seed": seed,
        "samples": settings.samples,
        "sampling": settings.sampling.model_dump(mode="json"),
        "dtype": settings.sampled_in,
        "prompt": prompt_style,
        "extraction": settings.extraction,
        "policies": list(policies),
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
        if benchmark.test_digests is not None:
            digest.update(benchmark.test_digests[problem.problem_id].encode())
            continue
        for case in benchmark.tests[problem.problem_id]:
            digest.update(repr((case.input, case.expected)).encode())
    return digest.hexdigest()[:16]


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
