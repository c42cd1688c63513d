"""`xcoder run`, a command for each of its stages, and `xcoder plan`, which shows what they would do."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from xcoder_train.commands.options import BreakLock, Overrides, RecipePath
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import Source
from xcoder_train.runs.stage import run_recipe
from xcoder_train.stages import STAGES, StageName

app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Run every missing stage, each in its own process."""
    run_stages(recipe, overrides or [], None, break_lock)


def run_stage(
    context: typer.Context, recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False
) -> None:
    """Run the stage that the command is named after."""
    stage = next(stage for stage in STAGES.values() if stage.subcommand == context.info_name)
    run_stages(recipe, overrides or [], stage.name, break_lock)


for _stage in STAGES.values():
    if _stage.name != "evaluation":  # which has options of its own
        app.command(_stage.subcommand, help=_stage.purpose)(run_stage)


@app.command()
def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Check everything and show what a run would do. Needs no GPU and downloads nothing."""
    made = make_plan(recipe, overrides or [])
    print(json.dumps(made.figures, indent=2) if as_json else made.text)


def run_stages(source: Source, overrides: Sequence[str], only: StageName | None, break_lock: bool) -> None:
    """Run what is missing, of one stage or of all, and end the command with the exit code of what failed."""
    status = run_recipe(source, overrides, only, break_lock)
    if status != 0:
        raise typer.Exit(status)
