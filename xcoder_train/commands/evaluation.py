"""`xcoder eval`: of a recipe, of a model without one, or without a model, from finished results and submissions."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from evaluation.benchmarks import load_benchmarks
from evaluation.evaluate import compare as paired_differences
from evaluation.evaluate import rejudge as rejudge_submission
from evaluation.measurement import Measurement
from evaluation.results import ModelResult, load_result
from evaluation.tables import breakdowns_markdown, print_results
from xcoder_core.errors import InputError
from xcoder_core.files import write_text
from xcoder_core.settings import require
from xcoder_train.commands.options import BreakLock, command_path
from xcoder_train.commands.run import run_stages
from xcoder_train.recipe.reading import evaluation_recipe, load_recipe
from xcoder_train.stages import STAGES

app = typer.Typer(rich_markup_mode=None)

NOWHERE = "http://127.0.0.1:9/v1"


@app.command(STAGES["evaluation"].subcommand, help=STAGES["evaluation"].purpose)
def evaluate(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|key.path=value",
            help="YAML file of the experiment, and overrides.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Measure this model, a folder or a name, without a recipe."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="With --model, once or more: livecodebench:v5-279, file:PATH or evalplus:PATH."
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="With --model: the OpenAI-compatible server of this model.")
    ] = None,
    rejudge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=command_path, help="Judge an official LiveCodeBench file again, on one --benchmark."
        ),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", parser=command_path, help="Twice or more: compare finished results pair by pair."
        ),
    ] = None,
    break_lock: BreakLock = False,
) -> None:
    """Do what the options ask for, or run the recipe's evaluation."""
    given, benchmarks = words or [], benchmark or []
    if compare:
        compare_results(compare)
    elif rejudge is not None:
        if model or server or len(benchmarks) != 1 or not all("=" in word for word in given):
            raise typer.BadParameter("--rejudge FILE takes the place of a RECIPE and needs one --benchmark")
        rejudge_file(rejudge, benchmarks[0], given)
    elif model is not None:
        if not benchmarks or (given and "=" not in given[0]):
            raise typer.BadParameter("--model takes the place of a RECIPE and needs a --benchmark file:PATH")
        run_stages(evaluation_recipe(model, benchmarks, server), given, "evaluation", break_lock)
    elif not given or benchmarks or server:
        raise typer.BadParameter("expected a RECIPE, or --model M --benchmark file:PATH [--server URL]")
    else:
        run_stages(command_path(given[0]), given[1:], "evaluation", break_lock)


def rejudge_file(file: Path, benchmark: str, overrides: Sequence[str]) -> None:
    """Judge an official submission again and show its scores, which are kept in `runs/rejudge-<file>/`."""
    name = "rejudge-" + re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-")[-80:]
    # The recipe is only read, for its settings and its checks: a model that a server knows needs no folder.
    recipe = load_recipe(evaluation_recipe(name, [benchmark], NOWHERE), [f"name={name}", *overrides])
    settings = require(recipe.evaluation)
    (loaded,) = load_benchmarks(settings.benchmarks, None, settings.livecodebench_folder)
    folder = recipe.run_folder / "evaluation" / loaded.name.replace(":", "-")
    measurement = Measurement(file.stem, folder, [loaded], settings, recipe.judge, recipe.seed, prompt="plain")
    result = rejudge_submission(file, measurement)
    write_text(folder / "breakdowns.md", breakdowns_markdown({result.label: result}))
    print_results({result.label: result}, {})
    print(f"Verdicts, scores and official files: {folder}")


def compare_results(folders: Sequence[Path]) -> None:
    """Show the scores of finished evaluations side by side, with paired differences of each and the one before it."""
    if len(folders) < 2:
        raise InputError("a comparison needs --compare at least twice, each with the folder of one model's result")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("--compare names one folder twice; each result is compared with another one")
    results: dict[str, ModelResult] = {}
    for folder in folders:
        result = load_result(folder)
        label = f"{folder.resolve().parents[1].name}:{result.label}"
        if label in results:
            label = f"{label} {folder}"
        results[label] = replace(result, label=label)
    first, *others = results.values()
    for other in others:
        for what in ("k", "policy"):
            if other.scores[what] != first.scores[what]:
                raise InputError(
                    f"{first.folder} has {what} {first.scores[what]}, {other.folder} has {other.scores[what]}; "
                    "evaluate both the same way"
                )
        if other.scores["benchmarks"].keys() != first.scores["benchmarks"].keys():
            raise InputError(f"{first.folder} and {other.folder} are about different benchmarks")
    print_results(results, paired_differences(results))
