"""The text of a trace: blocks of labelled rows in at most 80 columns."""

import textwrap
from collections.abc import Mapping, Sequence

from xcoder_core.problem import Problem
from xcoder_core.terminal import harmless

WIDTH = 80
LABEL = 14
_STATEMENT_LINES = 6


class Page:
    """Text that is written row by row. What teachers and models wrote cannot steer the terminal that shows it."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(harmless(line).rstrip() for line in self._lines)

    def title(self, name: str, of: str | None = None) -> None:
        """Begin a block."""
        self._lines += ["", f"{name}  {of}" if of else name]

    def row(self, label: str, text: str | None) -> None:
        """Add a row to the block, on as many lines as it takes; nothing where there is no text."""
        if text is not None:
            for number, line in enumerate(textwrap.wrap(text, WIDTH - LABEL - 4, break_on_hyphens=False) or [""]):
                self._lines.append(f"  {'' if number else label:{LABEL}}  {line}")

    def statement(self, text: str | None) -> None:
        """Add the first lines of a problem's statement, which keeps its own line breaks."""
        given = "not stored" if text is None else text.strip()
        lines = [part for line in given.split("\n") for part in textwrap.wrap(line, WIDTH - LABEL - 4) or [""]]
        for number, line in enumerate(lines[:_STATEMENT_LINES]):
            self.row("" if number else "statement", line)
        if len(lines) > _STATEMENT_LINES:
            self.row("", f"… {len(lines) - _STATEMENT_LINES:,} more lines")


def form(problem: Problem) -> str:
    """How a problem is worded, and how a program for it takes its input."""
    io = "standard input" if problem.io == "stdin" else f"the function {problem.function_name}"
    return f"{problem.style}, {io}"


def counted(counts: Mapping[str, int], before: str = "") -> str:
    """Each count with its name, as in "3 AC, 1 WA"; nothing without counts."""
    return before + ", ".join(f"{count} {name}" for name, count in counts.items()) if counts else ""


def listed(items: Sequence[str], most: int) -> str:
    """The first `most` items, and how many more `--json` has."""
    more = f", … {len(items) - most:,} more (--json)" if len(items) > most else ""
    return ", ".join(items[:most]) + more
