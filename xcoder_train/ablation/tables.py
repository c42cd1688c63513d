"""The tables and plots of an ablation, from its stored results and nothing else."""

import csv
import io
from pathlib import Path

import numpy

from evaluation.tables import Table, percent, to_markdown
from xcoder_core.files import atomic_path, write_text
from xcoder_core.templates import filled
from xcoder_train.ablation.results import AblationResults, ArmResult, RunResult, Score

_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "×": r"$\times$", "–": "--", "≥": r"$\geq$", **{sign: f"\\{sign}" for sign in "&%_#$"}}
)


def write_tables(results: AblationResults, folder: Path) -> None:
    """table.md, table.csv, table.tex, plot.png and plot.svg."""
    write_text(folder / "table.md", to_markdown_page(results))
    write_text(folder / "table.csv", to_csv(results))
    write_text(folder / "table.tex", to_latex(results))
    plot(results, folder / "plot.png")
    plot(results, folder / "plot.svg")


def to_markdown_page(results: AblationResults) -> str:
    """The question, the table, and what has to be known to read it."""
    return f"{results.question}\n\n{to_markdown(make_table(results))}\n{caption(results)}\n"


def make_table(results: AblationResults) -> Table:
    """One row for each arm."""
    score = f"pass@{results.metric.k}, %"
    header = [*results.axes, score, "each seed", "to the first arm", "examples", "epochs", "steps", "tokens"]
    rows = []
    for arm in results.arms:
        difference, means = arm.difference, [None if run.mean is None else 100 * run.mean for run in arm.runs]
        lengths = [(run.examples, run.epochs, run.steps, run.trained_tokens) for run in arm.runs] or [(None,) * 4]
        rows.append(
            [
                *arm.labels,
                percent(arm.mean, arm.ci95) if arm.runs else "not run yet",
                ", ".join(_number(mean, ".1f") for mean in means) or "–",
                "–" if difference is None else percent(difference.mean, difference.ci95, signed=True),
                *map(_number, lengths[0], (",", ".1f", ",", ",")),
            ]
        )
        if results.paper is not None:
            rows[-1].append(_number(results.paper.percent.get(arm.name), ".1f"))
    return Table(results.question, header + ([] if results.paper is None else ["paper, %"]), rows)


def caption(results: AblationResults) -> str:
    """What is held equal, where the numbers were measured, what the intervals cover, and the paper's own window."""
    parts = [f"Held equal: {results.equal}. Pool of every arm: {results.pool}."]
    if results.sampling is None:
        parts.append("Not run yet.")
    else:
        parts.append(
            f"Our window: {results.window}, {results.samples_per_problem} samples each at temperature "
            f"{results.sampling['temperature']:g}, of the model after {results.metric.model.upper()}. "
            "Brackets are 95 % intervals with problems and seeds resampled together; differences are paired."
        )
    if results.paper is not None:
        parts.append(f"Paper: {results.paper.source}; its window: {results.paper.window}.")
    if results.missing and results.sampling is not None:
        parts.append(f"Not run yet: {', '.join(results.missing)}.")
    return " ".join(parts)


def to_csv(results: AblationResults) -> str:
    """One line for each run (with its seed) and one for each arm (`seed` is `all`); shares, not percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ours = ["seed", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high"]
    names = ["examples", "epochs", "steps", "trained_tokens"]
    writer.writerow([*results.axes, *ours, *names, "held_equal", "window", "paper_percent", "paper_window"])
    metric, paper = f"pass@{results.metric.k}", results.paper
    for arm in results.arms:
        last: list[object] = [results.equal, results.window, None, None]
        if paper is not None and arm.name in paper.percent:
            last[2:] = paper.percent[arm.name], paper.window
        for run in arm.runs:
            figures = run.examples, run.epochs, run.steps, run.trained_tokens
            writer.writerow([*arm.labels, run.seed, metric, *_shares(run), *_shares(None), *figures, *last])
        writer.writerow([*arm.labels, "all", metric, *_shares(arm), *_shares(arm.difference), *[None] * 4, *last])
    return text.getvalue()


def _shares(score: Score | RunResult | ArmResult | None) -> list[float | None]:
    """A mean with both ends of its interval."""
    return [None] * 3 if score is None else [score.mean, *(score.ci95 or (None, None))]


def to_latex(results: AblationResults) -> str:
    """A table for a paper; needs the package booktabs."""
    values = {"results": results, "table": make_table(results), "caption": caption(results)}
    return filled("xcoder_train.ablation", "table.tex.j2", values, {"latex": lambda text: text.translate(_LATEX)})


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def plot(results: AblationResults, path: Path) -> None:
    """The mean over seeds with its interval, every seed as a point, and the paper's figures, dashed in our colours.

    The file's ending names its format. Equal results give equal bytes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    axis, labels = next(iter(results.axes.items()))
    places, is_numeric = _places(labels)
    lines = list(dict.fromkeys(arm.labels[1:] for arm in results.arms))
    with rc_context({"svg.hashsalt": results.name, "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for number, line in enumerate(lines):
            arms = [arm for arm in results.arms if arm.labels[1:] == line and arm.ci95 is not None]
            if arms:
                x = [places[arm.labels[0]] for arm in arms]
                mean, low, high = numpy.array([(arm.mean, *arm.ci95) for arm in arms if arm.ci95 is not None]).T
                bars = [100 * (mean - low), 100 * (high - mean)]
                label, colour = " ".join(line) or "ours", f"C{number}"
                axes.errorbar(x, 100 * mean, bars, fmt="o-", color=colour, capsize=3, label=label)
                runs = [(place, run) for place, arm in zip(x, arms, strict=True) for run in arm.runs]
                seeds = [(place, 100 * run.mean) for place, run in runs if run.mean is not None]
                axes.plot(*zip(*seeds, strict=True), "x", color=colour, alpha=0.6, markersize=5)
        percent = {} if results.paper is None else results.paper.percent
        printed = [arm for arm in results.arms if arm.name in percent]
        for line in dict.fromkeys(arm.labels[1:] for arm in printed):
            points = [(places[arm.labels[0]], percent[arm.name]) for arm in printed if arm.labels[1:] == line]
            label, colour = " ".join(["paper, its own window", *line]), f"C{lines.index(line)}"
            axes.plot(*zip(*points, strict=True), "s--", color=colour, alpha=0.5, markersize=4, label=label)
        if is_numeric:
            axes.set_xscale("log", base=2)
        axes.set_xticks(list(places.values()), labels)
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.set_ylabel(f"pass@{results.metric.k} (%)")
        axes.set_title(f"{results.name}: {results.equal} held equal", fontsize=10)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        else:
            axes.text(0.5, 0.5, "not run yet", transform=axes.transAxes, ha="center")
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)


def _places(labels: list[str]) -> tuple[dict[str, float], bool]:
    """The place of each arm on the axis: at its number where all labels are numbers, else side by side."""
    try:
        return {label: float(label) for label in labels}, all(float(label) > 0 for label in labels)
    except ValueError:
        return {label: float(place) for place, label in enumerate(labels)}, False
