"""A part of a plan: its figures, as `xcoder plan --json` prints them, and lines of at most 80 columns for a reader."""

import textwrap
from dataclasses import dataclass, field

_WIDTH = 80
_LABEL = 14


@dataclass(frozen=True)
class Part:
    """What is planned. `figures` are JSON values."""

    figures: dict[str, object]
    lines: list[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


def row(label: str, text: str) -> list[str]:
    """A label and what stands beside it; a long text wraps below its beginning."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {label:{_LABEL}}",
        subsequent_indent=" " * (_LABEL + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def shown_count(value: int) -> str:
    """A count with three digits and its unit, as 7.62 B."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return str(value)


def shown_bytes(value: int) -> str:
    """Bytes in KiB, MiB or GiB."""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1024:.1f} KiB"


def shown_core_time(hours: float) -> str:
    """The time of one core, in hours or minutes."""
    return f"{hours:,.1f} core-hours" if hours >= 1 else f"{60 * hours:,.1f} core-minutes"
