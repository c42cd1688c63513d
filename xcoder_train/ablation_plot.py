"""The plot of an ablation: the mean over seeds with its interval, every seed as a point, the paper's figures beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xcoder_train.core.files import atomic_path


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Write the figure in the format that the file's ending names. Equal results give equal bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    (axis, labels), *second = found["axes"].items()
    lines = second[0][1] if second else [None]
    with pyplot.rc_context({"svg.hashsalt": found["name"], "svg.fonttype": "none"}):
        figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
        places, is_numeric = _places(labels)
        for number, line in enumerate(lines):
            arms = [arm for arm in found["arms"] if line is None or arm["labels"][1] == line]
            _draw(axes, arms, [places[arm["labels"][0]] for arm in arms], f"C{number}", line or "ours")
        if found["paper"] is not None:
            _draw_paper(axes, found, places)
        if is_numeric:
            axes.set_xscale("log", base=2)
        axes.set_xticks(list(places.values()), labels)
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.set_ylabel(f"pass@{found['metric']['k']} (%)")
        axes.set_title(f"{found['name']}: {found['equal']} held equal", fontsize=10)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "not run yet", transform=axes.transAxes, ha="center")
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)
        pyplot.close(figure)


def _places(labels: list[str]) -> tuple[dict[str, float], bool]:
    """Where each arm stands: at its number where all labels are numbers, else side by side."""
    try:
        return {label: float(label) for label in labels}, all(float(label) > 0 for label in labels)
    except ValueError:
        return {label: float(place) for place, label in enumerate(labels)}, False


def _draw(axes: Any, arms: list[dict[str, Any]], places: list[float], colour: str, label: str) -> None:
    run = [(place, arm) for place, arm in zip(places, arms, strict=True) if arm["ci95"] is not None]
    if not run:
        return
    means = [100 * arm["mean"] for _, arm in run]
    below = [100 * (arm["mean"] - arm["ci95"][0]) for _, arm in run]
    above = [100 * (arm["ci95"][1] - arm["mean"]) for _, arm in run]
    axes.errorbar([place for place, _ in run], means, [below, above], fmt="o-", color=colour, capsize=3, label=label)
    seeds = [(place, 100 * one["mean"]) for place, arm in run for one in arm["runs"] if one["mean"] is not None]
    axes.plot(*zip(*seeds, strict=True), "x", color=colour, alpha=0.6, markersize=5)


def _draw_paper(axes: Any, found: Mapping[str, Any], places: dict[str, float]) -> None:
    """Dashed, in the colour of ours; each line joins the figures of one label of the second axis."""
    figures = found["paper"]["percent"]
    lines = list(dict.fromkeys(tuple(arm["labels"][1:]) for arm in found["arms"]))
    by_line: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for arm in found["arms"]:
        if arm["name"] in figures:
            by_line.setdefault(tuple(arm["labels"][1:]), []).append((places[arm["labels"][0]], figures[arm["name"]]))
    for line, points in by_line.items():
        label = " ".join(["paper, its own window", *line])
        colour = f"C{lines.index(line)}"
        axes.plot(*zip(*points, strict=True), "s--", color=colour, alpha=0.5, markersize=4, label=label)
