"""The report's part on training: curves from the metrics that SFT and GRPO logged."""

from pathlib import Path
from typing import Any

from evaluation.report.plots import Figure, curve_plot, share_plot
from xcoder_core.rows import sound_rows

METRICS_FILE = "metrics.jsonl"
VERDICT = "verdicts/"
Metrics = list[dict[str, Any]]


def sft_figures(folder: Path) -> list[Figure]:
    """The loss over steps; nothing where none was logged."""
    return _with_held_out(read_metrics(folder), "loss", "loss", "SFT loss")


def grpo_figures(folder: Path) -> list[Figure]:
    """Mean reward, shares of verdicts, and the share of groups that teach nothing, each where it was logged."""
    metrics = read_metrics(folder)
    figures = _with_held_out(metrics, "reward", "mean reward", "GRPO mean reward")
    names = dict.fromkeys(name for row in metrics for name in row if name.startswith(VERDICT))
    rows = [row for row in metrics if all(isinstance(row.get(name), int | float) for name in names)]
    if names and rows:
        shares = {name.removeprefix(VERDICT): [row[name] for row in rows] for name in names}
        shares = {name: values for name, values in shares.items() if any(values)}
        accepted = shares.get("AC", [0.0] * len(rows))
        order = sorted(shares, key=lambda name: (name != "AC", -sum(shares[name])))
        description = (
            f"Verdicts on GRPO rollouts over {rows[-1]['step']:.0f} steps; "
            f"accepted: {100 * accepted[0]:.0f} % at first, {100 * accepted[-1]:.0f} % at last"
        )
        steps = [row["step"] for row in rows]
        figures.append(share_plot(steps, {name: shares[name] for name in order}, description))
    steps, flat = column(metrics, "frac_reward_zero_std")
    if steps:
        description = "Share of GRPO groups whose rollouts all got the same reward and so teach nothing"
        percents = [100 * share for share in flat]
        figures.append(curve_plot({"groups": (steps, percents)}, "groups, %", description))
    return figures


def _with_held_out(metrics: Metrics, name: str, label: str, title: str) -> list[Figure]:
    """A metric over steps, beside it that on held-out tasks."""
    steps, values = column(metrics, name)
    if not steps:
        return []
    curves = {"training": (steps, values), "held-out": column(metrics, f"eval_{name}")}
    description = f"{title} over {steps[-1]:.0f} steps, from {values[0]:.3g} to {values[-1]:.3g}"
    return [curve_plot({name: curve for name, curve in curves.items() if curve[0]}, label, description)]


def read_metrics(folder: Path) -> Metrics:
    """The logged steps of a stage, in order; none where it logged nothing."""
    path = folder / METRICS_FILE
    return [row for _, row in sound_rows(path, strict=False)] if path.exists() else []


def column(metrics: Metrics, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one metric, where it was logged as a number."""
    rows = [row for row in metrics if isinstance(row.get(name), int | float)]
    return [row["step"] for row in rows], [row[name] for row in rows]
