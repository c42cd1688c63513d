"""Texts from the Jinja templates that lie beside our code, and pages of rows for the terminal."""

import textwrap
from collections.abc import Callable, Mapping

from xcoder_core.terminal import harmless

WIDTH = 80
"""Columns of a page."""

Values = Mapping[str, object]
Filters = Mapping[str, Callable[..., object]]


def filled(package: str, name: str, values: Values, filters: Filters, **options: object) -> str:
    """The template `name` of a package, filled with values; `options` are those of a `jinja2.Environment`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    ours = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=PackageLoader(package, "."), **(ours | options))  # type: ignore[arg-type]
    environment.filters |= {"number": _number, **filters}
    return environment.get_template(name).render(values)


def page(package: str, values: Values, filters: Filters, *, label: int, breaks_words: bool = False) -> str:
    """The template `page.txt.j2` of a package, filled with values, for a terminal of 80 columns.

    A line that begins with two blanks is a row: its first `label` columns are its label, and what stands beside it
    wraps below its beginning. A value stays in its row, and cannot steer the terminal.
    """
    from jinja2 import Undefined

    text = filled(package, "page.txt.j2", values, filters, undefined=Undefined, finalize=_in_its_row)
    lines: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        wrapped = textwrap.wrap(
            line[label:],
            WIDTH,
            initial_indent=line[:label],
            subsequent_indent=" " * label,
            break_long_words=breaks_words,
            break_on_hyphens=False,
        )
        lines += wrapped if wrapped and line.startswith("  ") else [line]
    return "\n".join(harmless(line).rstrip() for line in lines)


def _in_its_row(value: object) -> str:
    return str(value).replace("\n", " ")


def _number(value: float, decimals: int | None = None) -> str:
    """With commas between thousands."""
    return f"{value:,}" if decimals is None else f"{value:,.{decimals}f}"
