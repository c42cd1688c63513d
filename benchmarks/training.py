"""Training on a CPU: SFT against TRL's SFTTrainer, and where the time of a GRPO step goes.

    python -m benchmarks.training --output benchmarks/results/training.json

Model, optimiser and data are the laptop recipe's, of a smaller synthesis. SFT set-ups (`benchmarks/sft_peers.py`) take
turns, and their speed is tokens per second of CPU time, so that ratios stand a busy machine; before that, the loss and
the gradient of one batch are held against SFTTrainer's. The GRPO part makes its own synthesis and a short SFT first.
"""

import argparse
import copy
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

from benchmarks.grpo_split import measure_steps
from benchmarks.sft_peers import SETUPS, Trained, apart_on_one_batch, train
from synth.pipeline import synthesise
from xcoder_core.files import write_json
from xcoder_core.models.loading import load_tokenizer
from xcoder_core.settings import require
from xcoder_core.stage import StageContext
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_folder
from xcoder_train.sft.data import IGNORED, read_tokens
from xcoder_train.sft.train import prepare, starting_point
from xcoder_train.training.weights import load_training_model

QUICKSTART = Path("recipes/laptop/quickstart.yaml")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write where `--output` says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of every SFT set-up (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=31, help="SFT steps of a turn, one of them to warm up")
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
    """Tokens per second of CPU time of each set-up, and this project's over each by round, on the recipe's own data."""
    training = f"{{max_steps: {steps}, logging_steps: {steps}, save_strategy: no}}"
    recipe = load_recipe(QUICKSTART, [f"sft.training={training}"])
    assert recipe.sft is not None
    with tempfile.TemporaryDirectory() as folder:
        start, examples = _prepared(recipe, Path(folder))
    tokens = sum(len(example["input_ids"]) for example in examples)
    unsupervised = sum(example["labels"].count(IGNORED) for example in examples)
    model, tokenizer = start
    apart = apart_on_one_batch(model, tokenizer, examples, recipe)
    taken: dict[str, list[Trained]] = {setup: [] for setup in SETUPS}
    for _ in range(rounds):
        for setup in SETUPS:
            taken[setup].append(train(setup, copy.deepcopy(model), tokenizer, examples, recipe))
    speed = {setup: [run.tokens / run.cpu_seconds for run in runs] for setup, runs in taken.items()}
    ratios = {
        setup: [own / other for own, other in zip(speed["own"], speed[setup], strict=True)]
        for setup in SETUPS
        if setup != "own"
    }
    return {
        "parameters": model.num_parameters(),
        "rows_per_step": recipe.sft.micro_batch,
        "tokens_per_row": tokens / len(examples),
        "share_of_prompts": unsupervised / tokens,
        "steps": steps - 1,
        "rounds": rounds,
        "tokens_per_cpu_second": {setup: statistics.median(rates) for setup, rates in speed.items()},
        "own_over": {
            setup: {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
            for setup, values in ratios.items()
        },
        "apart_on_one_batch": apart,
        "mean_loss": {setup: statistics.median(run.final_loss for run in runs) for setup, runs in taken.items()},
    }


def _prepared(recipe: Recipe, folder: Path) -> tuple[tuple[Any, Any], list[dict[str, list[int]]]]:
    """A small synthesis of the recipe's kind; its first model with the tokenizer, and its rows as token ids."""
    assert recipe.synth is not None
    splits = {"solved": {"use": "sft", "tasks": 400, "depth": [1, 2]}}
    settings = type(recipe.synth).model_validate({**recipe.synth.model_dump(mode="json"), "splits": splits})
    for stage in ("synth", "sft"):
        (folder / stage).mkdir()
    made = StageContext(recipe.name, "synth", "key", folder / "synth", recipe.seed, {})
    synthesise(settings, recipe.judge, recipe.model.prompt, made)
    context = StageContext(recipe.name, "sft", "key", folder / "sft", recipe.seed, {"synth": folder / "synth"})
    prepare(require(recipe.sft), recipe.model, context, folder / "rows")
    start = starting_point(recipe.model, context)
    examples = [dict(row) for row in read_tokens(folder / "rows")[0]]
    model = load_training_model(start, recipe.model, lora=False, quantize=None)
    return (model, load_tokenizer(start, recipe.model.trust_remote_code, recipe.model.chat_template)), examples


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
