"""What commands have in common: the RECIPE, its overrides, paths, and the option that breaks a lock."""

from pathlib import Path
from typing import Annotated

import typer

from xcoder_core.settings import expanded


def command_path(text: str) -> Path:
    """A path of the command line, read as one of a recipe: a shell leaves `--output=~/a` to the command."""
    try:
        return Path(expanded(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from error


RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", parser=command_path, help="YAML file of the experiment.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="key.path=value", help="Overrides of the recipe's settings.", show_default=False),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take the run over from a dead process on another machine.")
]
