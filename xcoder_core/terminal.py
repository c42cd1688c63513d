"""What a person sees while a command works: untrusted text made safe to print, the console for tables, and progress."""

import sys
import time
from typing import TYPE_CHECKING, Self

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


SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Progress of one piece of work with a known number of steps, on standard error.

    `note` is free text beside the bar, such as the current loss.
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._started, self._done_at_start, self._last_line = time.monotonic(), done, time.monotonic()
        self._note = ""
        self._bar = self._make_bar() if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        elif self.done < self.total:
            self._line(f"{self.what}: {self.done:,} of {self.total:,} {self.unit}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._line(self._summary())

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Count `steps` more as done."""
        self.done += steps
        self._note = self._note if note is None else note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=self._pace(), note=self._note)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(self._summary())

    def _make_bar(self):  # type: ignore[no-untyped-def]  # rich is imported only where a bar is shown
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = bar.add_task(self.what, total=self.total, completed=self.done, rate="", note="")
        return bar

    def _summary(self) -> str:
        seconds, rate = time.monotonic() - self._started, self._rate()
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        note = f", {self._note}" if self._note else ""
        pace = f" ({self._pace()}{left})" if rate else ""
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit} in {seconds:.0f} s{pace}{note}"

    def _pace(self) -> str:
        """How fast it goes, in what is read more easily: steps a second, or seconds a step."""
        rate = self._rate()
        return f"{rate:,.1f}/s" if rate >= 1 or not rate else f"{1 / rate:,.1f} s each"

    def _rate(self) -> float:
        return (self.done - self._done_at_start) / max(time.monotonic() - self._started, 1e-9)

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        print(text, file=sys.stderr, flush=True)
