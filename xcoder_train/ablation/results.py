"""The results of an ablation's runs, as `results.json` keeps them: enough to write every table and plot again.

The runs themselves may be gone by then.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.results import ModelResult, load_results
from evaluation.scores import (
    Estimate,
    ProblemCounts,
    estimate_difference_over_seeds,
    estimate_over_seeds,
    estimate_pass_at_k,
)
from xcoder_core.errors import InputError
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import read_result
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import AblationSettings, MetricSettings, PaperFigures, arm_name
from xcoder_train.runs.keys import stage_folder

RESULTS_FILE = "results.json"


Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Score:
    """A mean of pass@k, or of a difference of two, with its 95 % interval; shares, None where no problem counts."""

    mean: float | None
    ci95: Interval
    problems: int
    left_out: int


@dataclass(frozen=True)
class RunResult:
    """One finished run: how long it really trained in SFT, in every measure that can be held equal, and its score."""

    seed: int
    key: str
    examples: int | None
    steps: int | None
    trained_tokens: int | None
    epochs: float | None
    training_seconds: float | None
    mean: float | None
    ci95: Interval
    problems: int
    left_out: int


@dataclass(frozen=True)
class ArmResult:
    """An arm: its finished runs, the score over their seeds, and the difference from the first arm."""

    name: str
    labels: tuple[str, ...]
    runs: tuple[RunResult, ...]
    mean: float | None = None
    ci95: Interval = None
    problems: int = 0
    left_out: int | None = None
    difference: Score | None = None


@dataclass(frozen=True)
class AblationResults:
    """What results.json holds. `window` and the sampling are None before the first run is finished."""

    name: str
    question: str
    axes: dict[str, list[str]]
    equal: str
    pool: str
    metric: MetricSettings
    window: str | None
    samples_per_problem: int | None
    sampling: dict[str, int | float] | None
    seeds: tuple[int, ...]
    paper: PaperFigures | None
    arms: tuple[ArmResult, ...]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The content of results.json; an arm without a finished run has no `left_out` there."""
        not_run = {place: {"left_out"} for place, arm in enumerate(self.arms) if not arm.runs}
        return _RESULTS.dump_python(self, mode="json", exclude={"arms": not_run})


_RESULTS = TypeAdapter(AblationResults)


def read_results(path: Path) -> AblationResults:
    """A stored results.json."""
    try:
        return _RESULTS.validate_python(json.loads(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(map(str, [*first["loc"], first["msg"]]))
    except (OSError, ValueError) as error:
        reason = str(error)
    raise InputError(f"{path} cannot be read as the results of an ablation: {reason}")


def gather(
    name: str, settings: AblationSettings, pool: str, recipes: Mapping[tuple[str, ...], Mapping[int, Recipe | None]]
) -> AblationResults:
    """The scores of every arm. `recipes` are those of its finished runs by its labels and the seed, else None."""
    metric = settings.metric
    measured = {
        labels: {seed: _measure(recipe, seed, metric) for seed, recipe in runs.items() if recipe is not None}
        for labels, runs in recipes.items()
    }
    finished = [run.model.scores for runs in measured.values() for run in runs.values()]
    scores = finished[-1] if finished else None
    return AblationResults(
        name=name,
        question=settings.question,
        axes={axis: list(labels) for axis, labels in settings.axes.items()},
        equal=settings.equal,
        pool=pool,
        metric=metric,
        window=None if scores is None else scores["benchmarks"][metric.benchmark]["description"],
        samples_per_problem=None if scores is None else scores["samples_per_problem"],
        sampling=None if scores is None else scores["sampling"],
        seeds=settings.seeds,
        paper=settings.paper,
        arms=tuple(
            _arm_result(labels, runs, next(iter(measured.values())), metric.k) for labels, runs in measured.items()
        ),
        missing=tuple(
            f"{arm_name(labels)}-seed{seed}" for labels, runs in recipes.items() for seed in runs if not runs[seed]
        ),
    )


@dataclass(frozen=True)
class _Measured:
    """A finished run: its result, the `counts` of the metric's benchmark by problem_id, and its evaluation."""

    result: RunResult
    counts: Mapping[str, ProblemCounts]
    model: ModelResult


def _measure(recipe: Recipe, seed: int, metric: MetricSettings) -> _Measured:
    model = load_results(stage_folder(recipe, "evaluation"))[metric.model]
    if metric.benchmark not in model.scores["benchmarks"]:
        known = ", ".join(model.scores["benchmarks"])
        raise InputError(f"ablation.metric.benchmark is {metric.benchmark!r}; the runs measured {known}")
    counts = {count.problem_id: count for count in model.counts if count.benchmark == metric.benchmark}
    chance = derive_seed(seed, "ablation", "run")
    sft = read_result(stage_folder(recipe, "sft")) if recipe.has_result("sft") else {}
    result = RunResult(
        seed=seed,
        key=read_result(model.folder)["key"],
        examples=sft.get("examples"),
        steps=sft.get("steps"),
        trained_tokens=sft.get("trained_tokens"),
        epochs=round(sft["steps"] * sft["examples_per_step"] / sft["examples"], 2) if sft else None,
        training_seconds=sft.get("training_seconds"),
        **vars(_score(estimate_pass_at_k(list(counts.values()), metric.k, model.scores["bootstrap"], chance))),
    )
    return _Measured(result, counts, model)


def _arm_result(
    labels: tuple[str, ...], runs: Mapping[int, _Measured], first: Mapping[int, _Measured], k: int
) -> ArmResult:
    results = tuple(run.result for run in runs.values())
    if not runs:
        return ArmResult(arm_name(labels), labels, results)
    resamples = next(iter(runs.values())).model.scores["bootstrap"]
    counts = [run.counts for run in runs.values()]
    score = _score(estimate_over_seeds(counts, k, resamples, derive_seed(0, "ablation", "arm")))
    difference, pairs = None, [(first[seed].counts, run.counts) for seed, run in runs.items() if seed in first]
    if pairs and runs is not first:
        before, after = zip(*pairs, strict=True)
        chance = derive_seed(0, "ablation", "difference")
        difference = _score(estimate_difference_over_seeds(before, after, k, resamples, chance))
    return ArmResult(arm_name(labels), labels, results, **vars(score), difference=difference)


def _score(estimate: Estimate) -> Score:
    return Score(estimate.mean, estimate.ci95, estimate.problems, estimate.left_out)
