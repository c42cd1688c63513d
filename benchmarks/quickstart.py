"""The quickstart on several seeds, with its two controls: runs what is missing, then writes one table of all of it.

    python -m benchmarks.quickstart --seeds 0 1 2

Every run is `xcoder run` on a shipped recipe, so a stopped benchmark continues. The controls use the first seed: GRPO
with shuffled rewards, and the time of GRPO spent on more SFT. Writes benchmarks/results/quickstart.{json,md}.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from evaluation.evaluate import compare
from evaluation.measurement import ResultLayout
from evaluation.results import ModelResult, load_results
from evaluation.tables import percent
from xcoder_core.files import write_json, write_text

LAPTOP = Path("recipes/laptop")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--no-controls", action="store_true")
    chosen = parser.parse_args()

    seeds = {}
    for seed in chosen.seeds:
        name = "quickstart" if seed == 0 else f"quickstart-seed{seed}"
        run(LAPTOP / "quickstart.yaml", f"name={name}", f"seed={seed}", f"runs_dir={chosen.runs_dir}")
        seeds[seed] = chosen.runs_dir / name
    controls = {} if chosen.no_controls else run_controls(chosen.seeds[0], seeds[chosen.seeds[0]], chosen.runs_dir)

    table = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()},
        "seeds": {str(seed): figures(folder) for seed, folder in seeds.items()},
        "controls": controls,
    }
    write_json(RESULTS / "quickstart.json", table)
    write_text(RESULTS / "quickstart.md", to_markdown(table))
    print((RESULTS / "quickstart.md").read_text())


def run(recipe: Path, *overrides: str) -> None:
    """`xcoder run`, which keeps what is whole."""
    subprocess.run([sys.executable, "-m", "xcoder_train.cli", "run", str(recipe), *overrides], check=True)


def run_controls(seed: int, quickstart: Path, runs_dir: Path) -> dict[str, Any]:
    """Both controls on the same data and from the same start, compared with the quickstart's own models."""
    common = (f"seed={seed}", f"runs_dir={runs_dir}", f"inputs.synth={quickstart}")
    run(LAPTOP / "controls.yaml", *common, f"inputs.sft={quickstart}")
    run(LAPTOP / "more-sft.yaml", *common)
    own = load_results(quickstart / "evaluation")
    shuffled = load_results(runs_dir / "control-shuffled-rewards" / "evaluation")
    more = load_results(runs_dir / "control-more-sft" / "evaluation")
    return {
        "GRPO with shuffled rewards": differences(own["sft"], shuffled["rl"]),
        "the same time of more SFT": differences(own["sft"], more["sft"]),
    }


def figures(folder: Path) -> dict[str, Any]:
    """What the table shows of one run."""
    results = load_results(folder / "evaluation")
    summary = json.loads((folder / "summary.json").read_text())
    scores = {label: result.scores["benchmarks"]["heldout"] for label, result in results.items()}
    return {
        "pass_at_1": {label: score["pass_at_1"] for label, score in scores.items()},
        "pass_at_8": {label: score["pass_at_8"] for label, score in scores.items()},
        "rl - sft": differences(results["sft"], results["rl"]),
        "seconds": summary["seconds"] | {"evaluation": sum(map(evaluation_seconds, results.values()))},
    }


def evaluation_seconds(result: ModelResult) -> float:
    """Sampling and judging of one model, whenever that was: a run continued with other settings keeps what it has."""
    return float(sum(json.loads(ResultLayout(result.folder).timings.read_text()).values()))


def differences(before: ModelResult, after: ModelResult) -> dict[str, Any]:
    """Paired differences of two models on the held-out problems, by k and depth."""
    [(_, difference)] = compare({"before": before, "after": after}).items()
    return difference["heldout"]


def to_markdown(table: dict[str, Any]) -> str:
    """Scores by seed, then gains of GRPO beside those of the controls, each with its 95 % interval, in percent."""
    lines = [
        "# Quickstart: all seeds and controls",
        "",
        "`python -m benchmarks.quickstart --seeds " + " ".join(table["seeds"]) + "`. Percent with 95 % intervals by "
        "bootstrap over problems; differences are paired on the same problems.",
        "",
        "| seed | depth | k | base | SFT | GRPO | GRPO − SFT |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for seed, shown in table["seeds"].items():
        for depth in shown["pass_at_1"]["sft"]["by_depth"]:
            for k in (1, 8):
                scores = [shown[f"pass_at_{k}"][label]["by_depth"][depth] for label in ("base", "sft", "rl")]
                cells = [percent(score["mean"], score["ci95"]) for score in scores]
                gain = shown["rl - sft"][f"pass_at_{k}"]["by_depth"][depth]
                gained = percent(gain["difference"], gain["ci95"], signed=True)
                lines.append(f"| {seed} | {depth.removeprefix('depth_')} | {k} | {' | '.join(cells)} | {gained} |")
    lines += ["", "Wall time of each stage: what else the machine does is in it, so read it as an upper bound.", ""]
    lines += ["| seed | " + " | ".join(next(iter(table["seeds"].values()))["seconds"]) + " | total seconds |"]
    lines.append("|---|" + "---:|" * (len(next(iter(table["seeds"].values()))["seconds"]) + 1))
    for seed, shown in table["seeds"].items():
        seconds = shown["seconds"].values()
        lines.append(f"| {seed} | " + " | ".join(f"{s:.0f}" for s in seconds) + f" | {sum(seconds):.0f} |")
    if table["controls"]:
        lines += ["", "| control, difference from SFT | depth | pass@1 | pass@8 |", "|---|---|---:|---:|"]
        for name, control in table["controls"].items():
            for depth, gain in control["pass_at_1"]["by_depth"].items():
                eight = control["pass_at_8"]["by_depth"][depth]
                cells = [percent(part["difference"], part["ci95"], signed=True) for part in (gain, eight)]
                lines.append(f"| {name} | {depth.removeprefix('depth_')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
