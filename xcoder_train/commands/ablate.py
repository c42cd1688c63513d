"""`xcoder ablate`: what is missing of an ablation is run, or printed as commands; its tables are written."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.terminal import harmless_lines
from xcoder_train.ablation.results import RESULTS_FILE, AblationResults, read_results
from xcoder_train.ablation.runs import FORMS, Ablation
from xcoder_train.ablation.tables import to_markdown_page, write_tables
from xcoder_train.commands.options import BreakLock, Overrides, RecipePath
from xcoder_train.runs.stage import run_recipe

app = typer.Typer(rich_markup_mode=None)


@app.command()
def ablate(
    recipe: RecipePath,
    overrides: Overrides = None,
    commands: Annotated[
        str | None,
        typer.Option(metavar="|".join(FORMS), help="Run nothing; print commands of this form for the missing runs."),
    ] = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables", help="Run nothing; write tables and plots of the finished runs. RECIPE may be a results.json."
        ),
    ] = False,
    break_lock: BreakLock = False,
) -> None:
    """Run the missing runs of an ablation; write tables and plots."""
    if commands not in (None, *FORMS):
        raise InputError(f"--commands {commands}: expected xcoder, accelerate or slurm")
    if tables and recipe.suffix == ".json":
        results = read_results(recipe)
        write_tables(results, recipe.parent)
    else:
        ablation = Ablation(recipe, overrides or [])
        if commands is not None:
            print(*missing_commands(ablation, commands), sep="\n")
            return
        status = 0 if tables else run_ablation(ablation, break_lock)
        if status != 0:
            raise typer.Exit(status)
        results = write_results(ablation)
    print(harmless_lines(to_markdown_page(results)), end="")


def run_ablation(ablation: Ablation, break_lock: bool) -> int:
    """Run what is missing and write the tables after every arm. Returns the exit code of the command."""
    for are_arms, runs in ((False, ablation.preparations()), (True, ablation.runs())):
        if are_arms:
            ablation.check_pool()
        for run in runs:
            if run.recipe_after(*run.stages) is None:
                print(f"{ablation.recipe.name}: {run.command('xcoder')}", file=sys.stderr, flush=True)
                status = run_recipe(run.path, run.overrides, None, break_lock)
                if status != 0:
                    return status
            if are_arms:
                write_results(ablation)
    return 0


def missing_commands(ablation: Ablation, form: str) -> Iterator[str]:
    """The commands of the runs that are missing. Arms wait for the preparations, and not for each other."""
    first = [run.command(form) for run in ablation.preparations() if run.recipe_after(*run.stages) is None]
    yield from first
    if first:
        yield "# The following need the results of those above."
    yield from (run.command(form) for run in ablation.runs() if run.recipe_after(*run.stages) is None)


def write_results(ablation: Ablation) -> AblationResults:
    """Gather what the finished runs left into results.json, and write tables and plots beside it.

    Where no run is finished for these settings, results that are stored already stay, with an InputError.
    """
    results, stored = ablation.results(), ablation.folder / RESULTS_FILE
    if results.window is None and stored.exists() and read_results(stored).window is not None:
        raise InputError(
            f"no run in {ablation.folder} was made with these settings, and {stored} holds results of others, which "
            f"stay. Their tables: xcoder ablate {stored} --tables"
        )
    write_json(stored, results.to_json())
    write_tables(results, ablation.folder)
    return results
