"""Dual verification compared, on tasks whose truth is known: one table, one plot of golden accuracy against yield.

    python -m benchmarks.verification [--tasks 2400] [--quick] [--output benchmarks/results/verification.json]

First the error model of candidates is fitted to the figures that X-Coder published, then every way to verify decides
the same tasks from the same candidates (docs/verification.md says what was found). About two minutes of one core.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.error_model import (
    CANDIDATES,
    PUBLISHED_GOLDEN_FULL_PASS,
    PUBLISHED_LABEL_ACCURACY,
    ErrorModel,
    Fit,
    draw_luck,
    fit,
)
from benchmarks.known_tasks import KnownTasks, draw_known_tasks
from benchmarks.verification_plot import plot
from benchmarks.verification_trial import Ballots, Rate, Trial, best_share, draw_ballots, rate, run_trial
from synth.config import MAXIMUM_DEPTH, VerificationSettings
from xcoder_core.files import write_json, write_text

SEED = 20260107

OPEN = VerificationSettings(
    minimum_agreement=0, minimum_task_agreement=0, minimum_tests=2, drop_unsolved=False, drop_solved_by_one=False
)
"""Nothing is dropped but by the way of voting itself."""

WAYS = {
    "majority": OPEN.model_copy(update={"vote": "majority", "hold_out": 0}),
    "weighted": OPEN.model_copy(update={"vote": "weighted", "hold_out": 0}),
    "weighted + hold-out (paper)": OPEN.model_copy(update={"vote": "weighted", "hold_out": 0.5}),
    "EM": OPEN.model_copy(update={"vote": "em", "hold_out": 0}),
    "majority, solved": OPEN.model_copy(update={"vote": "majority", "hold_out": 0, "drop_unsolved": True}),
}
PAPER = "weighted + hold-out (paper)"

AIDS = {"": (False, False), "validator": (True, False), "brute force": (False, True), "both": (True, True)}

MISREAD = (0.0, 0.03, 0.06, 0.09, 0.12)
CRASHED_AND_SLIPS = ((0.2, 0.0), (0.5, 0.0), (0.2, 0.15))
"""What the published figures leave open; the other parameters are fitted for each combination."""

OPEN_PARAMETERS = ("misread", "crashed", "slips")

START = ErrorModel(skill=4.5, spread=4.5, common=0.7, subtlety=1.0)

YIELDS = tuple(round(share, 2) for share in np.arange(0.4, 1.0001, 0.025))
THRESHOLDS = (0.0, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2400)
    parser.add_argument("--quick", action="store_true", help="few tasks and two error models: shows that it runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/verification.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/verification.png"))
    chosen = parser.parse_args()
    began = time.process_time()
    found = study(120 if chosen.quick else chosen.tasks, quick=chosen.quick)
    found["cpu_seconds"] = round(time.process_time() - began)
    write_json(chosen.output, found)
    write_text(chosen.output.with_suffix(".md"), to_markdown(found))
    plot(found, chosen.plot)
    print(to_markdown(found))


def study(count: int, quick: bool = False) -> dict[str, Any]:
    """All figures: the fits, the comparison under the best of them, and how far it hangs on the choice among them."""
    tasks = draw_known_tasks(count, SEED)
    target = np.array([PUBLISHED_LABEL_ACCURACY, PUBLISHED_GOLDEN_FULL_PASS])
    starts = [
        replace(START, misread=misread, crashed=crashed, slips=slips)
        for misread in (MISREAD[:2] if quick else MISREAD)
        for crashed, slips in (CRASHED_AND_SLIPS[:1] if quick else CRASHED_AND_SLIPS)
    ]
    fits = [fit(start, tasks, target, SEED, rounds=2 if quick else 6) for start in starts]
    best = min(fits, key=lambda found: found.error)
    return {
        "tasks": count,
        "published": {"label_accuracy": PUBLISHED_LABEL_ACCURACY, "golden_full_pass": PUBLISHED_GOLDEN_FULL_PASS},
        "fits": [described_fit(found) for found in fits],
        "best_fit": fits.index(best),
        **comparison(tasks, best.model),
        "sensitivity": [sensitivity(tasks, found) for found in fits],
    }


def described_fit(found: Fit) -> dict[str, Any]:
    """The parameters and what they predict."""
    return {
        "model": asdict(found.model),
        "label_accuracy": found.predicted[0].tolist(),
        "golden_full_pass": found.predicted[1].tolist(),
        "error": found.error,
    }


def ballots_of(tasks: KnownTasks, model: ErrorModel) -> Ballots:
    """Fresh luck, so that the comparison does not use the candidates that the model was fitted on."""
    luck = draw_luck(len(tasks), max(CANDIDATES), tasks.outputs.shape[1], SEED + 1)
    return draw_ballots(model, tasks, luck, SEED + 2)


def comparison(tasks: KnownTasks, model: ErrorModel) -> dict[str, Any]:
    """Every way and aid for 4, 8 and 16 candidates; frontiers, thresholds and the default settings for 8."""
    ballots = ballots_of(tasks, model)
    rows, frontiers = [], {}
    for candidates in CANDIDATES:
        paper = run_trial(ballots, candidates, WAYS[PAPER])
        for aid, (validator, brute_force) in AIDS.items():
            for way, settings in WAYS.items():
                trial = run_trial(ballots, candidates, settings, validator, brute_force, way == "EM" and aid == "")
                rows.append(
                    {"candidates": candidates, "aid": aid, "way": way}
                    | outcome(trial)
                    | {f"at_{share:.0%}": asdict(at_share(trial, share * paper.kept.mean())) for share in (1, 0.9, 0.7)}
                )
                if aid in ("", "both") and way in ("majority", "majority, solved", "EM"):
                    frontiers[f"{way}|{aid}|{candidates}"] = frontier(trial, trial.agreement)
                if way == "EM" and aid == "":
                    frontiers[f"EM by its posterior||{candidates}"] = frontier(trial, trial.posterior)
    eight = {aid: run_trial(ballots, 8, WAYS["majority"], *use) for aid, use in AIDS.items()}
    default = run_trial(ballots, 8, VerificationSettings())
    by_depth = {
        str(depth): asdict(rate(default.kept[tasks.depths == depth], np.ones((tasks.depths == depth).sum())))
        for depth in range(1, MAXIMUM_DEPTH + 1)
    }
    return {
        "table": rows,
        "frontiers": frontiers,
        "thresholds": {aid: thresholds(trial) for aid, trial in eight.items()},
        "default": {"settings": VerificationSettings().model_dump(), **outcome(default), "yield_by_depth": by_depth},
    }


def outcome(trial: Trial) -> dict[str, Any]:
    """Label accuracy and golden full-pass rate of the kept tasks, and their share."""
    return {
        "label_accuracy": asdict(rate(trial.labels_right * trial.kept, trial.labels * trial.kept)),
        "golden_full_pass": asdict(rate(trial.golden_right * trial.kept, trial.kept)),
        "yield": asdict(rate(trial.kept, np.ones(trial.tasks))),
    }


def at_share(trial: Trial, share: float) -> Rate:
    """Golden full-pass rate of the share of all tasks on which candidates agree most."""
    return best_share(trial, share, trial.agreement)


def frontier(trial: Trial, order: np.ndarray) -> list[tuple[float, float]]:
    """(yield, golden full-pass rate) as the bar rises, up to what is kept without one."""
    shares = [share for share in YIELDS if share <= trial.kept.mean()]
    return [(share, best_share(trial, share, order).value) for share in shares]


def thresholds(trial: Trial) -> list[dict[str, Any]]:
    """What `minimum_task_agreement` would keep at several values."""
    rows = []
    for threshold in THRESHOLDS:
        kept = trial.kept & (trial.agreement >= threshold)
        rows.append({"minimum_task_agreement": threshold} | outcome(replace(trial, kept=kept)))
    return rows


def sensitivity(tasks: KnownTasks, found: Fit) -> dict[str, Any]:
    """The paper's way and majority with a bar on agreement, with 8 candidates, under another error model."""
    ballots = ballots_of(tasks, found.model)
    paper = run_trial(ballots, 8, WAYS[PAPER])
    shown: dict[str, Any] = {name: getattr(found.model, name) for name in OPEN_PARAMETERS}
    shown |= {"error": found.error, "paper": outcome(paper)}
    shown["default"] = outcome(run_trial(ballots, 8, VerificationSettings()))
    for aid in ("", "both"):
        for way in ("majority", "EM") if aid == "" else ("majority",):
            trial = run_trial(ballots, 8, WAYS[way], *AIDS[aid])
            shown[f"{way}|{aid}"] = {
                "frontier": frontier(trial, trial.agreement),
                **outcome(trial),
                **{f"at_{share:.0%}": asdict(at_share(trial, share * paper.kept.mean())) for share in (1, 0.9, 0.7)},
            }
    return shown


def to_markdown(found: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        "# Dual verification compared",
        "",
        f"`python -m benchmarks.verification --tasks {found['tasks']}`: {found['tasks']} tasks a cell, percent, with "
        "half-widths of 95 % intervals.",
        "",
        "## Fits of the error model",
        "",
        "| misread | crashed | slips | skill | spread | common | subtlety | labels, n = 4 / 8 / 16 | golden "
        "| r.m.s. error |",
        "|---|---|---|---|---|---|---|---|---|---|",
        f"| published | | | | | | | {_list(found['published']['label_accuracy'])} | "
        f"{_list(found['published']['golden_full_pass'])} | |",
    ]
    for place, row in enumerate(found["fits"]):
        model = row["model"]
        fitted = " | ".join(f"{model[name]:.2f}" for name in ("skill", "spread", "common", "subtlety"))
        best = " (best)" if place == found["best_fit"] else ""
        lines.append(
            f"| {_open(model)} | {fitted} | {_list(row['label_accuracy'])} | "
            f"{_list(row['golden_full_pass'])} | {100 * row['error']:.2f}{best} |"
        )
    lines += ["", "## Comparison under the best fit", ""]
    lines += [
        "The last three columns take the tasks on which candidates agree most, as many as the yield of the paper's way "
        "without aids, and 90 % and 70 % of it.",
        "",
        "| n | aid | way | labels | golden full pass | yield | golden at equal yield | at 90 % of it | at 70 % of it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["table"]:
        cells = " | ".join(_rate(row[key]) for key in SHOWN)
        lines.append(f"| {row['candidates']} | {row['aid'] or 'none'} | {row['way']} | {cells} |")
    lines += ["", "## Bar on the agreement of a task (majority, 8 candidates)", ""]
    lines += [
        "| aid | minimum_task_agreement | labels | golden full pass | yield |",
        "|---|---|---|---|---|",
    ]
    for aid in ("", "both"):
        for row in found["thresholds"][aid]:
            cells = " | ".join(_rate(row[key]) for key in SHOWN[:3])
            lines.append(f"| {aid or 'none'} | {row['minimum_task_agreement']:.2f} | {cells} |")
    default = found["default"]
    cells = ", ".join(
        f"{name} {_rate(default[key])}" for name, key in zip(("labels", "golden", "yield"), SHOWN[:3], strict=True)
    )
    depths = ", ".join(_rate(default["yield_by_depth"][str(depth)]) for depth in range(1, MAXIMUM_DEPTH + 1))
    lines += ["", f"The default settings, 8 candidates, no aid: {cells}; yield at depth 1 to 6: {depths}.", ""]
    lines += ["## Under the other error models (8 candidates)", ""]
    lines += [
        "| misread | crashed | slips | paper: golden | yield | default: golden | yield | EM: golden | yield | "
        "majority at equal yield | at 90 % | at 70 % | both aids: golden | yield | at 90 % | at 70 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["sensitivity"]:
        plain, aided = row["majority|"], row["majority|both"]
        shown = [row[way][key] for way in ("paper", "default", "EM|") for key in ("golden_full_pass", "yield")]
        shown += [plain[key] for key in SHOWN[3:]]
        shown += [aided[key] for key in ("golden_full_pass", "yield", "at_90%", "at_70%")]
        cells = " | ".join(_rate(cell) for cell in shown)
        lines.append(f"| {_open(row)} | {cells} |")
    return "\n".join(lines) + "\n"


SHOWN = ("label_accuracy", "golden_full_pass", "yield", "at_100%", "at_90%", "at_70%")


def _open(values: dict[str, Any]) -> str:
    return " | ".join(f"{values[name]:.2f}" for name in OPEN_PARAMETERS)


def _list(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def _rate(value: dict[str, float]) -> str:
    if np.isnan(value["value"]):
        return "–"
    return f"{100 * value['value']:.1f} ± {100 * value['half_width']:.1f}"


if __name__ == "__main__":
    main()
