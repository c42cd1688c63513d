"""Make untrusted text safe to print: escape control characters and rich's markup; and the console for tables."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNWATCHED = 200
"""Columns in a file or a pipe. rich would take 80 there, and cut or break cells that a log has room for."""


def harmless(line: str) -> str:
    """The line with every control and formatting character but the tab as its escape; so half surrogate pairs too."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in line)


def harmless_lines(text: str) -> str:
    """Each line of a text made harmless; the breaks between them stay."""
    return "\n".join(map(harmless, text.split("\n")))


def cell(text: str) -> "Text":
    """A cell of a rich table that shows the text itself: no markup is read in it."""
    from rich.text import Text

    return Text(harmless(text))


def table_console(stderr: bool = False) -> "Console":
    """rich's console for tables on standard output, or on standard error."""
    from rich.console import Console

    is_watched = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if is_watched else UNWATCHED)
