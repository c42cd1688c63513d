"""Where tables are printed: as wide as the terminal, and wide enough for their cells where nobody watches."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

UNWATCHED = 200
"""Columns in a file or a pipe. rich would take 80 there, and cut or break cells that a log has room for."""


def table_console(stderr: bool = False) -> "Console":
    """rich's console for tables on standard output, or on standard error."""
    from rich.console import Console

    is_watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if is_watched else UNWATCHED)
