"""The report of a run (`xcoder report RECIPE`)."""

import sys

from evaluation.report.report import build_report
from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import REPORT_FILE
from xcoder_train.stages import STAGES


def work(recipe: Recipe, context: StageContext) -> None:
    """Write `report.html` of everything that the run has."""
    output = recipe.run_folder / REPORT_FILE
    titles: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}
    build_report(recipe.run_folder, context.inputs, output, recipe.report.samples, titles)
    print(f"report: {output}", file=sys.stderr)
