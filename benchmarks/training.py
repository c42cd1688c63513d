"""Training on a CPU: SFT against TRL's SFTTrainer, and where the time of a GRPO step goes.

    python -m benchmarks.training --output benchmarks/results/training.json

The model is the laptop recipe's. SFT set-ups (`benchmarks/sft_peers.py`) take turns, and their speed is tokens per
second of CPU time, so that ratios stand a busy machine. The GRPO part makes a small synthesis and a short SFT first.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.sft import random_model
from benchmarks.grpo_split import measure_steps
from benchmarks.sft_peers import SETUPS, Trained, documents, train
from xcoder_train.core.files import write_json
from xcoder_train.core.stage import StageContext
from xcoder_train.model_shape import model_shape
from xcoder_train.recipe import load_recipe
from xcoder_train.results import stage_folder
from xcoder_train.tokenizer import train_tokenizer

QUICKSTART = Path("recipes/laptop/quickstart.yaml")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write where `--output` says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of every SFT set-up (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=16, help="SFT steps of a turn, one of them to warm up")
    parser.add_argument("--grpo-steps", type=int, default=4)
    parser.add_argument("--sft-steps", type=int, default=400, help="SFT before GRPO (default: %(default)s)")
    parser.add_argument("--part", choices=["sft", "grpo"], help="measure this alone and keep the output's other part")
    parser.add_argument("--output", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    if chosen.part is not None and chosen.output is not None and chosen.output.exists():
        result = json.loads(chosen.output.read_text())
    result["machine"] = {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
    }
    if chosen.part != "grpo":
        result["sft"] = measure_sft(chosen.rounds, chosen.steps)
    if chosen.part != "sft":
        result["grpo"] = measure_grpo(chosen.grpo_steps, chosen.sft_steps)
    print(json.dumps(result, indent=2))
    if chosen.output is not None:
        write_json(chosen.output, result)
    return result


def measure_sft(rounds: int, steps: int) -> dict[str, Any]:
    """Tokens per second of CPU time of each set-up, and this project's over each, by round."""
    training = [
        f"sft.training.max_steps={steps}",
        "sft.training.save_strategy=no",
        f"sft.training.logging_steps={steps}",
    ]
    recipe = load_recipe(QUICKSTART, [*training, "sft.optimizer.name=adamw", "sft.optimizer.learning_rate_rest=null"])
    shape = model_shape(recipe.model)
    assert shape is not None and recipe.sft is not None
    # Documents of the laptop's own lengths: a third of the row.
    examples = documents(recipe.sft.micro_batch * steps, recipe.sft.max_length // 2, shape.vocabulary, 0)
    tokenizer = train_tokenizer(["print(input())"] * 4, 300)
    taken: dict[str, list[Trained]] = {setup: [] for setup in SETUPS}
    for _ in range(rounds):
        for setup in SETUPS:
            taken[setup].append(train(setup, random_model(shape, torch.float32, recipe), tokenizer, examples, recipe))
    speed = {setup: [run.tokens / run.cpu_seconds for run in runs] for setup, runs in taken.items()}
    ratios = {
        setup: [own / other for own, other in zip(speed["own"], speed[setup], strict=True)]
        for setup in SETUPS
        if setup != "own"
    }
    return {
        "parameters": shape.parameters,
        "rows_per_step": recipe.sft.micro_batch,
        "tokens_per_cpu_second": {setup: statistics.median(rates) for setup, rates in speed.items()},
        "own_over": {
            setup: {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
            for setup, values in ratios.items()
        },
        "rounds": rounds,
    }


def measure_grpo(steps: int, sft_steps: int) -> dict[str, Any]:
    """The laptop recipe's GRPO with smaller batches, after a short SFT."""
    with tempfile.TemporaryDirectory() as folder:
        splits = "{solved: {use: sft, tasks: 200, depth: [1, 2]}, unsolved: {use: rl, tasks: 64, depth: [2]}}"
        overrides = [
            f"runs_dir={folder}",
            f"synth.splits={splits}",
            "evaluation=null",
            f"sft.training.max_steps={sft_steps}",
            "sft.launch.threads=1",
            f"grpo.training.max_steps={steps}",
            f"grpo.training.save_steps={steps}",
            "grpo.training.warmup_steps=0",
            "grpo.prompts_per_step=16",
        ]
        for name in ("unsolved_short", "depth_1_2", "depth_3"):
            overrides.append(f"synth.splits.{name}=null")
        for stage in ("synth", "sft"):
            command = [sys.executable, "-m", "xcoder_train.cli", stage, str(QUICKSTART), *overrides]
            subprocess.run(command, check=True)
        recipe = load_recipe(QUICKSTART, overrides)
        inputs = {"synth": stage_folder(recipe, "synth"), "sft": stage_folder(recipe, "sft")}
        stage = Path(folder) / "measured"
        stage.mkdir()
        return measure_steps(recipe, StageContext(recipe.name, "grpo", "key", stage, recipe.seed, inputs))


if __name__ == "__main__":
    main()
