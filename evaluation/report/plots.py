"""Plots as inline SVG: text stays text, nothing is fetched, and equal data gives equal bytes."""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from evaluation.config import MODELS, model_look

WIDTH_INCHES, HEIGHT_INCHES = 4.6, 2.7  # readable on a phone without zooming, where it is shown at about this size
FEWEST_BARS = 4
MOST_LEVEL_LABELS = 6  # of groups beside each other; more are slanted, so that they do not meet
POINTS = 400  # of a curve; longer ones are averaged in equal bins, so that the page stays small
INK, GRID = "#24292f", "#d8dee4"
VERDICT_COLOURS = {
    "AC": "#0b5cad",
    "WA": "#c9d1d9",
    "RE": "#8c959f",
    "TLE": "#57606a",
    "MLE": "#3f4750",
    "OLE": "#2b3138",
    "CE": "#b9a27c",
    "no code": "#8a6d3b",
    "IE": "#cf222e",
}
PART_COLOURS = {"sampling": "#0b5cad", "update": "#8a6d3b", "old_logprobs": "#b9a27c", "judging": "#57606a"}
PART_COLOURS |= {"waiting": "#cf222e", "weight_sync": "#8c959f", "rest": "#c9d1d9"}


@dataclass(frozen=True)
class Figure:
    """An inline SVG, and the caption below it."""

    svg: str
    caption: str


def group_plot(
    groups: Sequence[str],
    scores: Mapping[str, Sequence[tuple[float, float, float] | None]],
    ylabel: str,
    description: str,
    caption: str | None = None,
) -> Figure:
    """Means with intervals: `scores` maps each model to one (mean, low, high) in percent per group, or None."""

    def draw(axes: Axes) -> None:
        for place, (label, points) in enumerate(scores.items()):
            shift = (place - (len(scores) - 1) / 2) * 0.2
            shown = [(group + shift, *point) for group, point in enumerate(points) if point is not None]
            if not shown:
                continue
            x, mean, low, high = numpy.array(shown).T
            error = [numpy.maximum(mean - low, 0), numpy.maximum(high - mean, 0)]
            look = model_look(label)
            style: dict[str, Any] = {"markersize": 5, "capsize": 2.5, "linewidth": 1.4}
            axes.errorbar(x, mean, yerr=error, fmt=look.mark, color=look.colour, label=label, **style)
        axes.set_xticks(range(len(groups)), groups)
        if len(groups) > MOST_LEVEL_LABELS:
            axes.tick_params("x", rotation=40)
            for name in axes.get_xticklabels():
                name.set(ha="right", rotation_mode="anchor")
        axes.set(xlim=(-0.6, len(groups) - 0.4), ylim=(-2, 102), ylabel=ylabel)
        _legend(axes, len(scores))

    return _figure(draw, description, caption)


def every_k_plot(
    curves: Mapping[str, Sequence[tuple[int, float, float, float]]], description: str, caption: str
) -> Figure:
    """pass@k over k: each model's (k, mean, low, high) in percent, the interval as a band."""

    def draw(axes: Axes) -> None:
        largest = 1
        for label, points in curves.items():
            if not points:
                continue
            k, mean, low, high = numpy.array(points).T
            largest = max(largest, int(k[-1]))
            look = model_look(label)
            axes.fill_between(k, low, high, color=look.colour, alpha=0.18, linewidth=0)
            axes.plot(k, mean, color=look.colour, marker=look.mark, markersize=4, linewidth=1.4, label=label)
        axes.set_xscale("log", base=2)
        ticks = [2**power for power in range(largest.bit_length())]
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        axes.set(xlabel="k", ylabel="pass@k, %", ylim=(-2, 102))
        _legend(axes, len(curves))

    return _figure(draw, description, caption)


def curve_plot(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], ylabel: str, description: str) -> Figure:
    """One thin line per curve of (steps, values), and a smoothed one over it where there are enough points."""

    def draw(axes: Axes) -> None:
        colours = [model.colour for model in MODELS.values()][::-1]
        for place, (label, (steps, values)) in enumerate(curves.items()):
            x, y = _binned(steps, values)
            colour = colours[place % len(colours)]
            window = len(x) // 20
            alone = len(curves) == 1
            axes.plot(x, y, color=colour, linewidth=1.0 if window > 1 else 1.6, alpha=0.35 if window > 1 else 1)
            if window > 1:
                axes.plot(x, _smoothed(y, window), color=colour, linewidth=1.8)
            axes.lines[-1].set_label("_" if alone else label)
        axes.set(xlabel="step", ylabel=ylabel)
        if len(curves) > 1:
            _legend(axes, len(curves))

    return _figure(draw, description)


def share_plot(steps: Sequence[float], shares: Mapping[str, Sequence[float]], description: str, of: str) -> Figure:
    """Shares (0 to 1) that add up to one, stacked over steps."""

    def draw(axes: Axes) -> None:
        rows = {label: _binned(steps, values) for label, values in shares.items()}
        x = next(iter(rows.values()))[0]
        axes.stackplot(
            x,
            *(100 * values for _, values in rows.values()),
            labels=list(rows),
            colors=[(VERDICT_COLOURS | PART_COLOURS).get(label, INK) for label in rows],
            linewidth=0,
        )
        axes.set(xlabel="step", ylabel=f"{of}, %", ylim=(0, 100))
        if x[0] < x[-1]:
            axes.set_xlim(x[0], x[-1])
        _legend(axes, 5)

    return _figure(draw, description)


def bar_plot(counts: Mapping[str, int], xlabel: str, description: str, caption: str) -> Figure:
    """One horizontal bar per name, the first on top, each with its count."""

    def draw(axes: Axes) -> None:
        bars = axes.barh(list(counts), list(counts.values()), color=VERDICT_COLOURS["AC"], height=0.7)
        axes.bar_label(bars, [f"{count:,}" for count in counts.values()], padding=2, color=INK)
        axes.set_ylim(max(len(counts), FEWEST_BARS) - 0.4, -0.6)  # few bars stay slim, the first is on top
        axes.set_xmargin(0.12)
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel(xlabel)

    return _figure(draw, description, caption)


def histogram(
    values: numpy.ndarray, bins: int, span: tuple[float, float], labels: tuple[str, str], description: str
) -> Figure:
    """How many of the values lie in each of `bins` of equal width within `span`; `labels` name both axes."""

    def draw(axes: Axes) -> None:
        counts, edges = numpy.histogram(values, bins=bins, range=span)
        axes.bar(edges[:-1], counts, numpy.diff(edges), align="edge", color=VERDICT_COLOURS["AC"], edgecolor="white")
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))

    return _figure(draw, description)


def _figure(draw: Callable[[Axes], None], description: str, caption: str | None = None) -> Figure:
    """The drawing under its description, which is also the caption where none is given."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": description,  # names inside one SVG must not meet those of another on the page
        "text.parse_math": False,
        "font.size": 9.5,
        "axes.edgecolor": GRID,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    with rc_context(style):
        canvas = Canvas(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
        draw(canvas.subplots())
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    start, rest = svg.split(">", 1)
    start = re.sub(r'\b(width|height)="[^"]*"\s*', "", start)
    svg = start.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1) + ">" + rest
    return Figure(svg, f"{description}." if caption is None else caption)


def _legend(axes: Axes, columns: int) -> None:
    spacing = {"handlelength": 1.2, "columnspacing": 1.0, "borderpad": 0.2}
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False, **spacing)


def _binned(steps: Sequence[float], values: Sequence[float]) -> tuple[numpy.ndarray, numpy.ndarray]:
    x, y = numpy.asarray(steps, dtype=float), numpy.asarray(values, dtype=float)
    if len(x) <= POINTS:
        return x, y
    parts = numpy.array_split(numpy.arange(len(x)), POINTS)
    return numpy.array([x[part].mean() for part in parts]), numpy.array([y[part].mean() for part in parts])


def _smoothed(values: numpy.ndarray, window: int) -> numpy.ndarray:
    """Centred moving average; its window shrinks evenly on both sides at the ends, so that it does not lag there."""
    sums = numpy.concatenate([[0.0], numpy.cumsum(values)])
    place = numpy.arange(len(values))
    reach = numpy.minimum(window, numpy.minimum(place, len(values) - 1 - place))
    return (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)
