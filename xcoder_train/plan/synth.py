"""The plan of synthesis, and what is known of a synthesis before and after it was made."""

import math
from dataclasses import asdict

from synth.config import SynthSettings
from synth.estimate import Estimate, StageEstimate, estimate, questions_of
from synth.features.stage import needs_model
from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import require
from xcoder_core.stage import read_result
from xcoder_train.plan.part import Part, row, shown_bytes, shown_core_time, shown_count
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import is_whole, stage_folder

COPIES_OF_AN_ANSWER = 3
"""An answer with a program stands in the model's answers, among the candidates, and among the solutions."""
PROCEDURAL_TASK_BYTES = 6_000
"""Of the built-in teacher, with 8 candidates and 15 inputs, while executions are written; 3,200 once it is finished.
From 100 tasks of recipes/xcoder-qwen2.5-7b.yaml, by `du -sb` of the synthesis."""


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> Part:
    """Tasks, questions to the teacher, executions, and what they take; or the published rows to import."""
    settings = require(recipe.synth)
    if settings.imports:
        return _imports(settings)
    tasks = {name: split.tasks for name, split in settings.splits.items()}
    together = sum(tasks.values())
    questions = together * sum(questions_of(settings).values())
    programs = together * settings.candidates_per_task
    executions = programs * settings.inputs_per_task
    estimated = estimate(settings, recipe.seed)
    cores = math.ceil(estimated.judge_core_hours / 24)
    disk = _disk(settings, estimated, together)
    features_are_asked_for = bool(estimated.stages) and needs_model(settings.features)
    lines = row("tasks", f"{together:,} ({', '.join(f'{name} {count:,}' for name, count in tasks.items())})")
    if questions:
        lines += row("questions", f"{questions:,} to the teacher, and second tries where it errs")
    lines += row("executions", f"at most {executions:,}, of {programs:,} programs")
    if estimated.stages:
        lines += _table_of_teacher(estimated)
        if features_are_asked_for:
            lines += row("", "not counted: what extraction and evolution of features ask")
    runs = f"about {estimated.executions:,} runs"
    if estimated.helper_runs:
        runs += f", and {estimated.helper_runs:,} of generators, validators and brute force"
    within = f", {cores:,} cores for a day" if cores > 1 else ""
    lines += row("judge", f"{shown_core_time(estimated.judge_core_hours)}{within}: {runs}")
    without = ", without inputs and outputs" if estimated.stages else ""
    lines += row("disk", f"at most {shown_bytes(disk)} before compression{without}")
    figures: dict[str, object] = {
        "tasks": tasks,
        "questions": questions,
        "programs": programs,
        "executions": executions,
        "estimate": {**asdict(estimated), "cost": estimated.cost},
        "judge_cores_for_a_day": cores,
        "disk": disk,
        "features_are_asked_for": features_are_asked_for,
    }
    return Part(figures, lines)


def planned_tasks(recipe: Recipe, use: str) -> int | None:
    """Tasks of the splits with this use, before any is dropped; None where they are imported or made elsewhere."""
    if recipe.synth is None or recipe.synth.imports:
        return None
    return sum(split.tasks for split in recipe.synth.splits.values() if split.use == use)


def has_finished_synthesis(recipe: Recipe) -> bool:
    """Whether the synthesis that this recipe trains on is there already."""
    return recipe.has_result("synth") and (recipe.synth is None or is_whole(recipe, "synth"))


def finished_rows(recipe: Recipe, use: str) -> int | None:
    """Rows of the `sft` or `rl` dataset of a finished synthesis; None where it does not tell."""
    rows = read_result(stage_folder(recipe, "synth")).get("dataset_rows", {}).get(use)
    return rows if isinstance(rows, int) else None


def _imports(settings: SynthSettings) -> Part:
    lines = []
    for item in settings.imports:
        rows = "all rows" if item.limit is None else f"the first {item.limit:,} rows"
        lines += row("import", f"{item.split}: {rows} of {item.place}")
    found = {item.split: {"from": item.place, "rows_at_most": item.limit} for item in settings.imports}
    return Part({"imports": found}, lines)


def _table_of_teacher(estimated: Estimate) -> list[str]:
    """What each stage asks of the teacher, and all of them together."""
    stages = estimated.stages.values()
    together = StageEstimate(
        sum(used.requests for used in stages),
        sum(used.prompt_tokens for used in stages),
        sum(used.completion_tokens for used in stages),
        estimated.cost,
    )
    lines = row("estimate", f"from {estimated.based_on}; second tries counted")
    lines.append(f"    {'':12}{'requests':>12}{'prompt':>12}{'completion':>12}{'cost':>14}")
    for name, used in {**estimated.stages, "all": together}.items():
        tokens = f"{shown_count(used.prompt_tokens):>12}{shown_count(used.completion_tokens):>12}"
        lines.append(f"    {name:12}{used.requests:>12,}{tokens}{used.cost:>14,.2f}")
    return lines


def _disk(settings: SynthSettings, estimated: Estimate, tasks: int) -> int:
    """At most so many bytes. Inputs and outputs of a language model's tasks are not in it: they can be of any size."""
    if not estimated.stages:
        runs = settings.candidates_per_task * settings.inputs_per_task
        return round(tasks * PROCEDURAL_TASK_BYTES * max(1.0, runs / (8 * 15)))
    tokens = sum(stage.completion_tokens for stage in estimated.stages.values())
    return tokens * CHARACTERS_PER_TOKEN * COPIES_OF_AN_ANSWER
