"""The plans of synthesis and of evaluation, and what is known of a synthesis before and after it was made."""

import math
from dataclasses import asdict

from synth.config import SynthSettings
from synth.estimate import Estimate, estimate, questions_of
from synth.features.stage import needs_model
from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import require
from xcoder_core.stage import read_result
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import evaluation_targets, is_whole, stage_folder

COPIES_OF_AN_ANSWER = 3
"""An answer with a program stands in the model's answers, among the candidates, and among the solutions."""
PROCEDURAL_TASK_BYTES = 6_000
"""Of the built-in teacher, with 8 candidates and 15 inputs, while executions are written; 3,200 once it is finished.
From 100 tasks of recipes/xcoder-qwen2.5-7b.yaml, by `du -sb` of the synthesis."""


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> dict[str, object]:
    """Tasks, questions to the teacher, executions, and what they take; or the published rows to import."""
    settings = require(recipe.synth)
    if settings.imports:
        return {"imports": {each.split: {"from": each.place, "rows_at_most": each.limit} for each in settings.imports}}
    tasks = {name: split.tasks for name, split in settings.splits.items()}
    together = sum(tasks.values())
    programs = together * settings.candidates_per_task
    estimated = estimate(settings, recipe.seed)
    return {
        "tasks": tasks,
        "questions": together * sum(questions_of(settings).values()),
        "programs": programs,
        "executions": programs * settings.inputs_per_task,
        "estimate": {**asdict(estimated), "cost": estimated.cost},
        "judge_cores_for_a_day": math.ceil(estimated.judge_core_hours / 24),
        "disk": _disk(settings, estimated, together),
        "features_are_asked_for": bool(estimated.stages) and needs_model(settings.features),
    }


def plan_evaluation(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> dict[str, object]:
    """Which models are measured on what, and how many completions that takes."""
    settings = require(recipe.evaluation)
    new_tokens = settings.sampling.max_new_tokens
    targets = evaluation_targets(recipe, recipe.run_folder)
    problems = planned_tasks(recipe, "evaluation") if "heldout" in settings.benchmarks else None
    to_do = sum(not target.is_whole for target in targets)
    completions = None if problems is None else problems * settings.samples * to_do
    return {
        "benchmarks": list(settings.benchmarks),
        "models": {target.label: {"key": target.key, "whole": target.is_whole} for target in targets},
        "samples": settings.samples,
        "k": list(settings.k),
        "max_new_tokens": new_tokens,
        "heldout_problems": problems,
        "completions": completions,
        "disk": None if completions is None else completions * new_tokens * CHARACTERS_PER_TOKEN,
    }


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


def _disk(settings: SynthSettings, estimated: Estimate, tasks: int) -> int:
    """At most so many bytes. Inputs and outputs of a language model's tasks are not in it: they can be of any size."""
    if not estimated.stages:
        runs = settings.candidates_per_task * settings.inputs_per_task
        return round(tasks * PROCEDURAL_TASK_BYTES * max(1.0, runs / (8 * 15)))
    tokens = sum(stage.completion_tokens for stage in estimated.stages.values())
    return tokens * CHARACTERS_PER_TOKEN * COPIES_OF_AN_ANSWER
