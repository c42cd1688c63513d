"""`xcoder trace`: the way of one problem through a run, from stored files. No model is loaded, nothing is written."""

import json
from pathlib import Path
from typing import Annotated

import typer

from xcoder_train.commands.options import Overrides, command_path
from xcoder_train.trace.find import find
from xcoder_train.trace.trace import trace as trace_found

app = typer.Typer(rich_markup_mode=None)


@app.command()
def trace(
    problem: Annotated[
        str,
        typer.Argument(metavar="PROBLEM_ID", help="Id of a problem or task, or its beginning.", show_default=False),
    ],
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            parser=command_path,
            help="Folder of a run or of several, or a RECIPE; runs when left out.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show one problem's way from features to scores."""
    traced = trace_found(find(problem, run, overrides or []))
    print(json.dumps(traced.values, indent=2) if as_json else traced.text)
