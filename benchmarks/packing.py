"""Packed rows against unpacked ones on a CPU, with a real model: speed, loss and memory of SFT.

    python -m benchmarks.packing MODEL

MODEL is a folder or a hub name, such as HuggingFaceTB/SmolLM2-135M-Instruct. Examples are procedural tasks of depth 1
to 4 with their solutions, eight a step, in rows of up to 1,024 tokens. The two ways take turns, each in a process of
its own; the first step of each turn warms up and is not counted. Writes benchmarks/results/packing.json.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import mean, median

from xcoder_core.files import write_json
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.keys import stage_folder

RESULTS = Path(__file__).parent / "results"
WAYS = {"unpacked": False, "packed": True}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn, one of them to warm up")
    chosen = parser.parse_args()
    turns: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        examples = Path(folder) / "examples.json"
        write_json(examples, common_settings(chosen.model, folder) | {"name": "examples", "synth": SYNTHESIS})
        peak_memory_of("synth", examples)
        for turn in range(chosen.rounds):
            for way, packing in WAYS.items():
                turns[way].append(one_turn(chosen.model, folder, f"{way}{turn}", packing, chosen.steps))
    rates = {way: [figures["tokens_per_second"] for figures in turns[way]] for way in WAYS}
    table = {
        "cores": len(os.sched_getaffinity(0)),
        "model": Path(chosen.model).name,
        "tokens_per_second": rates,
        "packed_over_unpacked": round(median(rates["packed"]) / median(rates["unpacked"]), 2),
        "loss": {way: turns[way][0]["loss"] for way in WAYS},
        "peak_memory_gib": {way: max(figures["peak_memory_gib"] for figures in turns[way]) for way in WAYS},
    }
    write_json(RESULTS / "packing.json", table)
    print(json.dumps(table, indent=2))


SYNTHESIS = {"splits": {"solved": {"use": "sft", "tasks": 200, "depth": [1, 4]}}}


def common_settings(model: str, folder: str) -> dict[str, object]:
    """What synthesis and training share."""
    return {"seed": 0, "runs_dir": folder, "model": {"path": model}}


def one_turn(model: str, folder: str, name: str, packing: bool, steps: int) -> dict[str, float]:
    """Train from the start in a process of its own: tokens without padding a second, mean loss, peak memory."""
    recipe = Path(folder) / f"{name}.json"
    training = {"max_steps": steps, "learning_rate": 1e-5, "logging_steps": 1, "save_strategy": "no"}
    sft = {"batch": 8, "micro_batch": 8, "max_length": 1024, "packing": packing, "training": training}
    inputs = {"synth": str(Path(folder) / "examples")}
    write_json(recipe, common_settings(model, folder) | {"name": name, "inputs": inputs, "sft": sft})
    peak = peak_memory_of("sft", recipe)
    metrics = stage_folder(load_recipe(recipe), "sft") / "metrics.jsonl"
    logged = [json.loads(line) for line in metrics.read_text().splitlines()]
    counted = [line for line in logged if "loss" in line][1:]
    return {
        "tokens_per_second": round(mean(line["tokens_per_second"] for line in counted), 1),
        "loss": round(mean(line["loss"] for line in counted), 4),
        "peak_memory_gib": round(peak / 2**30, 2),
    }


def peak_memory_of(stage: str, recipe: Path) -> int:
    """Bytes of the largest process of `xcoder STAGE RECIPE`."""
    command = [sys.executable, "-m", "xcoder_train.cli", stage, str(recipe)]
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"`{' '.join(command)}` failed: see above")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
