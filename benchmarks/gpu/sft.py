"""Tokens per second, MFU and peak memory of SFT on one GPU, with a model of the real shape and random weights.

    python -m benchmarks.gpu.sft --model qwen2.5-7b --length 8192 --output benchmarks/results/gpu-sft.json
    python -m benchmarks.gpu.sft --model qwen2.5-7b --length 32768 --lora 64

This project's path and TRL's SFTTrainer in two set-ups (`benchmarks/sft_peers.py`) take turns in one run, after a
turn of each that is not counted: kernels are compiled for every shape of a batch that they meet. Full fine-tuning of 7B
in float32 with Adam needs more than 120 GiB, so here weights, gradients and Adam's moments are in bfloat16 unless
`--weights float32` is given; the result says which. MFU is model FLOPs over the card's dense bf16 peak
(`xcoder_train/training/arithmetic.py`); what activation checkpointing computes again does not count.
"""

import argparse
import dataclasses
import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import transformers
import trl

from benchmarks.sft_peers import SETUPS, Trained, documents, train
from xcoder_core.files import write_json
from xcoder_core.models.folder import KNOWN, ModelShape
from xcoder_core.models.loading import attention, train_tokenizer
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.arithmetic import peak_flops, training_flops_per_token

SHAPES = {
    "qwen2.5-7b": KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"],
    "qwen3-8b": KNOWN["Qwen/Qwen3-8B-Base"],
    "tiny": ModelShape("qwen2", 64, 128, 2, 4, 2, 16, 512, 960, False),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write where `--output` says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.sft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=SHAPES, default="qwen2.5-7b")
    parser.add_argument("--length", type=int, default=8192, help="tokens of a row (default: %(default)s)")
    parser.add_argument("--micro-batch", type=int, default=1, help="rows of a step (default: %(default)s)")
    parser.add_argument("--lora", type=int, metavar="RANK", help="adapters instead of full fine-tuning")
    parser.add_argument("--weights", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--offload-activations", action="store_true", help="to the machine's own memory")
    parser.add_argument("--steps", type=int, default=6, help="of each set-up and round; the first is not counted")
    parser.add_argument("--rounds", type=int, default=2, help="that are counted (default: %(default)s)")
    parser.add_argument(
        "--limit-seconds", type=float, default=540, help="no round is begun that would end after this, but for one"
    )
    parser.add_argument("--output", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)

    # Rows differ in length; memory in fixed blocks would be lost between them. Read when CUDA is first used.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    result = measure(chosen)
    print(json.dumps(result, indent=2))
    if chosen.output is not None:
        write_json(chosen.output, result)
    return result


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All set-ups in turns; a set-up that does not fit the memory is reported as such."""
    shape = SHAPES[chosen.model]
    recipe = recipe_of(chosen)
    # A step takes fewer rows of documents than there are documents, so this many last for all steps.
    examples = documents(2 * chosen.steps * chosen.micro_batch + 2, chosen.length, min(shape.vocabulary, 900), 0)
    begun = ended = time.monotonic()
    runs: dict[str, list[Trained]] = {setup: [] for setup in SETUPS}
    lacking: dict[str, str] = {}
    for round_ in range(chosen.rounds + 1):
        before, ended = ended, time.monotonic()
        if round_ > 1 and 2 * ended - before - begun > chosen.limit_seconds:
            break
        for setup in SETUPS:
            if setup not in lacking:
                try:
                    taken = one(setup, shape, recipe, examples, chosen.weights)
                    runs[setup] += [taken] if round_ else []
                except torch.OutOfMemoryError as error:
                    lacking[setup] = str(error).splitlines()[0]
                free_memory()
    adapters = None if recipe.sft is None or recipe.sft.lora is None else recipe.sft.lora.parameters(shape)
    lengths = [len(example["input_ids"]) for example in examples]
    attended = sum(length * length for length in lengths) / sum(lengths)
    cost = training_flops_per_token(shape, attended, adapters)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    figures = {setup: summary(taken, cost, peak_flops(device)) for setup, taken in runs.items() if taken}
    own = figures.get("own", {}).get("tokens_per_second")
    return {
        "device": device,
        "model": {"name": chosen.model, "parameters": shape.parameters, "weights": chosen.weights, "lora": chosen.lora},
        "optimizer": f"AdamW, moments in {'float32' if chosen.lora else chosen.weights}, not offloaded",
        "activations": "checkpointed" + (", offloaded" if chosen.offload_activations else ""),
        "attention": attention(),
        "row": {"tokens": chosen.length, "rows_per_step": chosen.micro_batch, "steps": chosen.steps - 1},
        "model_flops_per_token": cost,
        "versions": {"torch": torch.__version__, "trl": trl.__version__, "transformers": transformers.__version__},
        "setups": figures,
        "own_over": {name: own / row["tokens_per_second"] for name, row in figures.items() if own and name != "own"},
        "out_of_memory": lacking,
    }


def recipe_of(chosen: argparse.Namespace) -> Recipe:
    """The SFT section that all set-ups share."""
    training = {
        "learning_rate": 1e-5,
        "max_steps": chosen.steps,
        "logging_steps": chosen.steps,
        "save_strategy": "no",
        "activation_checkpointing": True,
        "trl": {"activation_offloading": chosen.offload_activations},
    }
    section: dict[str, Any] = {"micro_batch": chosen.micro_batch, "max_length": chosen.length, "training": training}
    if chosen.lora:
        section["lora"] = {"rank": chosen.lora, "alpha": 2 * chosen.lora}
    return Recipe.model_validate({"name": "benchmark", "model": {"path": "random"}, "sft": section})


def one(setup: str, shape: ModelShape, recipe: Recipe, examples: list[dict[str, list[int]]], weights: str) -> Trained:
    """One set-up on a fresh model of the same random weights."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    tokenizer = train_tokenizer(["print(input())"] * 4, 300)
    return train(setup, random_model(shape, getattr(torch, weights), recipe), tokenizer, examples, recipe)


def random_model(shape: ModelShape, dtype: torch.dtype, recipe: Recipe) -> transformers.PreTrainedModel:
    """A model of this shape, made on the device that trains it."""
    config = transformers.AutoConfig.for_model(
        shape.architecture,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=shape.context,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tie_embeddings,
    )
    torch.manual_seed(recipe.seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention())
    return model


def summary(taken: list[Trained], flops_per_token: float, peak: float | None) -> dict[str, Any]:
    """Speed over all rounds, its spread, and the most memory."""
    rate = sum(run.tokens for run in taken) / sum(run.seconds for run in taken)
    return {
        "tokens_per_second": rate,
        "by_round": [run.tokens / run.seconds for run in taken],
        "mfu": None if peak is None else rate * flops_per_token / peak,
        "peak_memory_gib": max(run.peak_memory_bytes for run in taken) / 2**30,
        "rounds": [dataclasses.asdict(run) for run in taken],
    }


def free_memory() -> None:
    """Give back to the device what nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
