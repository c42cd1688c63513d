"""The report of a run: `python -m xcoder_train.report RECIPE` or `xcoder report RECIPE`."""

import sys

from evaluation.report.report import build_report
from xcoder_train.core.stage import StageContext
from xcoder_train.recipe import Recipe
from xcoder_train.results import REPORT_FILE
from xcoder_train.run import run_stage


def work(recipe: Recipe, context: StageContext) -> None:
    """Write `report.html` of everything that the run has."""
    output = recipe.run_folder / REPORT_FILE
    build_report(recipe.run_folder, context.inputs, output, recipe.report.samples)
    print(f"report: {output}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Command line of this stage."""
    return run_stage("report", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
