"""The plan of an evaluation: its models, benchmarks and samples."""

from xcoder_core.models.shape import ModelShape
from xcoder_core.settings import require
from xcoder_train.plan.synth import planned_tasks
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import evaluation_targets


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> dict[str, object]:
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
