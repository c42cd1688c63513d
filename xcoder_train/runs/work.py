"""Synthesis and report as stages of a run (`xcoder synth RECIPE`, `xcoder report RECIPE`)."""

import sys

from evaluation.report.report import build_report
from synth.pipeline import synthesise
from xcoder_core.settings import require
from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import REPORT_FILE, is_whole, stage_folder
from xcoder_train.stages import STAGES
from xcoder_train.training.wandb_run import track_synthesis


def make_synthesis(recipe: Recipe, context: StageContext) -> None:
    """Make and verify every split of the recipe."""
    synthesise(require(recipe.synth), recipe.judge, recipe.model.prompt, context)
    track_synthesis(context)


def make_report(recipe: Recipe, context: StageContext) -> None:
    """Write `report.html` of everything that the run has."""
    output = recipe.run_folder / REPORT_FILE
    titles: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}
    folders = dict(context.inputs)
    if recipe.has("rates") and is_whole(recipe, "rates"):  # GRPO of an earlier version measured for itself
        folders["rates"] = stage_folder(recipe, "rates")
    build_report(recipe.run_folder, folders, output, recipe.report.samples, titles)
    print(f"report: {output}", file=sys.stderr)
