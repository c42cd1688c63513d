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
from evaluation.config import EvaluationSettings
from evaluation.evalplus import STYLE, load_evalplus
from evaluation.extraction import extractor
from evaluation.few_shot import EvaluationPrompt, load_examples
from evaluation.heldout import load_heldout
from evaluation.interchange import write_official_files
from evaluation.judging import SampleVerdict, judge_samples
from evaluation.livecodebench import load_livecodebench, load_window
from evaluation.policies import write_differences
from evaluation.results import ModelResult, ResultLayout, load_result
from evaluation.sampling import sample_together
from evaluation.score_file import count_verdicts, describe_difference, make_scores
from evaluation.scores import ProblemCounts, estimate_difference
from reward.config import JudgeSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_json
from xcoder_train.core.generation.request import Generator
from xcoder_train.core.problem import Problem, TestCase
from xcoder_train.core.records import read_records, write_records
from xcoder_train.core.seeds import derive_seed
from xcoder_train.core.share import WHOLE, Share

BENCHMARK_FORMS = "`heldout`, `livecodebench:NAME`, `file:PATH` (LiveCodeBench's format), `evalplus:PATH`"


def load_benchmarks(
    names: Sequence[str], synth_folder: Path | None, livecodebench_folder: Path | None = None
) -> list[Benchmark]:
    """The benchmarks that `evaluation.benchmarks` names. Raises InputError for a name that means none."""
    benchmarks = []
    for name in names:
        kind, _, rest = name.partition(":")
        if name == "heldout":
            if synth_folder is None:
                raise InputError("the benchmark `heldout` needs a finished synthesis; add `synth:` or `inputs: synth`")
            benchmarks.append(load_heldout(synth_folder))
        elif kind == "file" and rest:
            benchmarks.append(load_livecodebench(Path(rest)))
        elif kind == "livecodebench":
            benchmarks.append(load_window(rest, livecodebench_folder))
        elif kind == "evalplus" and rest:
            benchmarks.append(load_evalplus(Path(rest)))
        else:
            raise InputError(f"evaluation.benchmarks: {name!r} is none of {BENCHMARK_FORMS}")
    return benchmarks


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

    Of several processes the first one calls this, with its `share`, and the others `sample_share`.
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
        sample_share(settings, benchmarks, generator, folder, seed, prompt_style, share)
    return judge_and_score(settings, judge_settings, benchmarks, label, folder, seed, decontamination or {})


def sample_share(
    settings: EvaluationSettings,
    benchmarks: Sequence[Benchmark],
    generator: Generator,
    folder: Path,
    seed: int,
    prompt_style: EvaluationPrompt,
    share: Share,
) -> None:
    """What a process does of an evaluation by several: complete its share of the problems."""
    sample_together(
        list(all_problems(benchmarks).values()),
        settings.samples,
        settings.sampling,
        generator,
        ResultLayout(folder).samples,
        seed,
        prompt_style,
        settings.maximum_invalid_share,
        share,
        None if settings.few_shot_folder is None else load_examples(settings.few_shot_folder),
    )


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


def all_problems(benchmarks: Sequence[Benchmark]) -> dict[str, Problem]:
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
        raise InputError(f"evaluation.benchmarks is empty; expected {BENCHMARK_FORMS}")
    return problems


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
