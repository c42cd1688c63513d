"""The report's part on training: curves from the metrics that SFT and GRPO logged."""

import json
from pathlib import Path
from typing import Any

from evaluation.report.plots import Figure, curve_plot, share_plot
from xcoder_core.errors import InputError

METRICS_FILE = "metrics.jsonl"
VERDICT = "verdicts/"


def sft_figures(folder: Path) -> list[Figure]:
    """The loss over steps; nothing where none was logged."""
    metrics = read_metrics(folder)
    steps, losses = column(metrics, "loss")
    if not steps:
        return []
    description = f"SFT loss over {steps[-1]:.0f} steps, from {losses[0]:.3g} to {losses[-1]:.3g}"
    curves = {"training": (steps, losses)}
    held_out = column(metrics, "eval_loss")
    if held_out[0]:
        curves["held-out"] = held_out
    return [curve_plot(curves, "loss", description, description + ".")]


def grpo_figures(folder: Path) -> list[Figure]:
    """Mean reward, shares of verdicts, and the share of groups that teach nothing, each where it was logged."""
    metrics = read_metrics(folder)
    figures = []
    steps, rewards = column(metrics, "reward")
    if steps:
        description = f"GRPO mean reward over {steps[-1]:.0f} steps, from {rewards[0]:.3g} to {rewards[-1]:.3g}"
        curves = {"training": (steps, rewards)}
        held_out = column(metrics, "eval_reward")
        if held_out[0]:
            curves["held-out"] = held_out
        figures.append(curve_plot(curves, "mean reward", description, description + "."))
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
        figures.append(share_plot(steps, {name: shares[name] for name in order}, description, description + "."))
    steps, flat = column(metrics, "frac_reward_zero_std")
    if steps:
        description = "Share of GRPO groups whose rollouts all got the same reward and so teach nothing"
        percents = [100 * share for share in flat]
        figures.append(curve_plot({"groups": (steps, percents)}, "groups, %", description, description + "."))
    return figures


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The logged steps of a stage, in order; none where it logged nothing."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not a JSON object ({error})") from error
    return rows


def column(metrics: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one metric, where it was logged as a number."""
    rows = [row for row in metrics if isinstance(row.get(name), int | float)]
    return [row["step"] for row in rows], [row[name] for row in rows]
