"""Dynamic sampling and online pass rates on the laptop: points at depth 3 for each rollout, second and token.

    python -m benchmarks.online_rates                    # `xcoder ablate`, which keeps what is finished, then the table
    python -m benchmarks.online_rates --tables           # run nothing; the table of the runs that are finished
    python -m benchmarks.online_rates 'ablation.seeds=[0]' --output online.json      # a part of it, into another file

A point is a percent of the held-out tasks that the model solves more than the SFT it started from. Sampled tokens and
seconds are sums over `metrics.jsonl`: all groups that were sampled, also those that were replaced, and the steps'
`timing/step_runtime`, so without evaluations and checkpoints. Where arms are compared at equal tokens, the curve of
held-out tasks on the way is read where the arm had sampled what the first arm sampled in all with the same seed. Writes
benchmarks/results/online_rates.json and a page beside it.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy

from evaluation.results import load_results
from xcoder_core.errors import InputError
from xcoder_core.files import write_json, write_text
from xcoder_core.settings import require
from xcoder_core.stage import read_result
from xcoder_train.ablation.runs import Ablation
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import MetricSettings
from xcoder_train.runs.keys import stage_folder

RECIPE = Path("recipes/laptop/online-rates.yaml")
OUTPUT = Path(__file__).parent / "results" / "online_rates.json"


@dataclass(frozen=True)
class RunCost:
    """One run: shares of held-out tasks solved, what GRPO sampled and took, and the curve on the way.

    `curve` has the sampled tokens and the share solved of each evaluation while training.
    """

    start: float
    end: float
    rollouts: int
    tokens: int
    seconds: float
    curve: list[tuple[int, float]]

    @property
    def points(self) -> float:
        """Percent of the held-out tasks gained."""
        return 100 * (self.end - self.start)

    def points_at(self, tokens: int) -> float:
        """Percent gained on the way once so many tokens were sampled; at the end where it never sampled as many."""
        sampled, solved = zip(*self.curve, strict=True)
        return 100 * float(numpy.interp(tokens, sampled, solved) - solved[0])


COLUMNS: dict[str, Callable[[RunCost, RunCost], float | None]] = {
    "points at depth 3": lambda run, _: run.points,
    "rollouts": lambda run, _: run.rollouts,
    "tokens": lambda run, _: run.tokens,
    "seconds": lambda run, _: run.seconds,
    "points per thousand rollouts": lambda run, _: 1000 * run.points / run.rollouts,
    "points per second": lambda run, _: run.points / run.seconds,
    "tokens per point": lambda run, _: run.tokens / run.points if run.points > 0 else None,
    "points on the way at the first arm's tokens": lambda run, first: run.points_at(first.tokens),
}


def main() -> None:
    """Run, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args()
    if not given.tables:
        command = [sys.executable, "-m", "xcoder_train.cli", "ablate", str(RECIPE), *given.overrides]
        subprocess.run(command, check=True)
    arms = collected(Ablation(RECIPE, given.overrides))
    machine = {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    table = {
        "machine": machine,
        "overrides": given.overrides,
        "arms": {name: summary(runs, arms) for name, runs in arms.items()},
    }
    write_json(given.output, table)
    write_text(given.output.with_suffix(".md"), to_markdown(table))
    print(given.output.with_suffix(".md").read_text())


def collected(ablation: Ablation) -> dict[str, dict[int, RunCost]]:
    """The finished runs of each arm by seed, in the ablation's order. Raises InputError where an arm has none."""
    arms: dict[str, dict[int, RunCost]] = {}
    for arm in ablation.arms:
        found = {seed: ablation.run_of(arm, seed).recipe_after("evaluation") for seed in ablation.settings.seeds}
        arms[arm.name] = {
            seed: run_cost(recipe, ablation.settings.metric) for seed, recipe in found.items() if recipe is not None
        }
        if not arms[arm.name]:
            raise InputError(f"arm {arm.name} has no finished run: xcoder ablate {ablation.path}")
    return arms


def run_cost(recipe: Recipe, metric: MetricSettings) -> RunCost:
    """What the run cost and gained, from its folders."""
    grpo, results = stage_folder(recipe, "grpo"), load_results(stage_folder(recipe, "evaluation"))
    per_set = require(recipe.grpo).prompts_per_set * require(recipe.grpo).rollouts
    shares = {
        model: results[model].scores["benchmarks"][metric.benchmark][f"pass_at_{metric.k}"]["mean"]  # type: ignore[literal-required]
        for model in ("sft", metric.model)
    }
    lines = [json.loads(line) for line in (grpo / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    tokens = list(accumulate(sampled_tokens(line, per_set) for line in lines))
    curve = [
        (sum_, line["eval_verdicts/AC"]) for sum_, line in zip(tokens, lines, strict=True) if "eval_reward" in line
    ]
    seconds = sum(line.get("timing/step_runtime", 0.0) for line in lines)
    rollouts = read_result(grpo)["rollouts"]
    return RunCost(shares["sft"], shares[metric.model], rollouts, tokens[-1], seconds, curve)


def sampled_tokens(line: dict[str, Any], per_set: int) -> int:
    """Tokens that were sampled for a logged step: of `per_set` rollouts, or of more where groups are replaced."""
    return round(line.get("groups/sampled_tokens", per_set * line.get("completions/mean_length", 0.0)))


def summary(runs: dict[int, RunCost], arms: dict[str, dict[int, RunCost]]) -> dict[str, Any]:
    """Each column's mean over the seeds, its deviation, and its values; and the runs."""
    first = next(iter(arms.values()))
    columns = {}
    for name, value in COLUMNS.items():
        values = [value(run, first.get(seed, run)) for seed, run in runs.items()]
        known = [one for one in values if one is not None]
        mean = statistics.mean(known) if len(known) == len(values) else None
        spread = statistics.stdev(known) if len(known) == len(values) > 1 else None
        columns[name] = {"mean": mean, "deviation": spread, "values": values}
    return {"columns": columns, "runs": {str(seed): asdict(run) for seed, run in runs.items()}}


def to_markdown(table: dict[str, Any]) -> str:
    """One line for each arm: means over seeds, with the deviation among them."""
    words = shlex.join(["python", "-m", "benchmarks.online_rates", *table["overrides"]])
    lines = [
        "# Dynamic sampling and online pass rates",
        "",
        f"`{words}`. Means over seeds ± their standard deviation.",
        "",
    ]
    lines += ["| arm | " + " | ".join(COLUMNS) + " | seeds |", "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for name, arm in table["arms"].items():
        cells = [shown(**arm["columns"][column]) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(arm['runs'])} |")
    return "\n".join(lines) + "\n"


def shown(mean: float | None, deviation: float | None, values: list[float | None]) -> str:
    """A mean with its deviation, to three digits or to whole numbers; a dash where a seed has no value."""
    if mean is None:
        return "–"
    numbers = [mean] if deviation is None else [mean, deviation]
    return " ± ".join(f"{number:,.0f}" if abs(mean) >= 100 else f"{number:.3g}" for number in numbers)


if __name__ == "__main__":
    main()
