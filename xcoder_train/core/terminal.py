"""What others wrote, on a terminal: none of it steers the terminal, hides a line or is taken for markup."""

from typing import Any


def harmless(line: str) -> str:
    """The line with every control and formatting character but the tab as its escape; so half surrogate pairs too."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in line)


def harmless_lines(text: str) -> str:
    """Each line of a text made harmless; the breaks between them stay."""
    return "\n".join(map(harmless, text.split("\n")))


def cell(text: str) -> Any:
    """A cell of a rich table that shows the text itself: no markup is read in it."""
    from rich.text import Text

    return Text(harmless(text))
