"""Seconds of a GRPO step on one GPU and where they go, with a model of the real shape and random weights.

    python -m benchmarks.gpu.grpo --model qwen2.5-7b --lora 32 --output benchmarks/results/gpu-grpo.json

A random model writes no code, so the judge is fed recorded completions: what the synthesis' own teacher wrote for each
problem, right and wrong, with one in twenty replaced by a program that runs into its time limit. All rollouts have the
full length, since a random model does not stop. Generation is by transformers unless vLLM is asked for with `--vllm`.
"""

import argparse
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.sft import SHAPES, free_memory, random_model
from benchmarks.grpo_split import Completions, measure_steps
from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.pipeline import synthesise
from xcoder_core.files import write_json
from xcoder_core.models.loading import save_model, train_tokenizer
from xcoder_core.problem import Solution
from xcoder_core.records import read_records
from xcoder_core.stage import StageContext, SynthLayout, read_result
from xcoder_train.recipe.schema import Recipe

ENDLESS = "```python\nwhile True:\n    pass\n```"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write where `--output` says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu.grpo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=SHAPES, default="qwen2.5-7b")
    parser.add_argument("--lora", type=int, metavar="RANK", help="adapters instead of full fine-tuning")
    parser.add_argument("--prompts", type=int, default=32, help="of a step (default: %(default)s)")
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=4, help="with 32 x 8 rollouts, 1,024 completions are judged")
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument(
        "--vllm-share", type=float, metavar="SHARE", help="of the device, in place of what is chosen (TRL's own: 0.3)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(chosen, Path(folder))
    print(json.dumps(result, indent=2))
    if chosen.output is not None:
        write_json(chosen.output, result)
    return result


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make data and model below `folder`, then train."""
    synthesis = folder / "synth"
    synthesis.mkdir()
    settings = SynthSettings.model_validate(
        {"splits": {"unsolved": {"use": "rl", "tasks": 2 * chosen.prompts, "depth": [2, 3]}}, "candidates_per_task": 4}
    )
    synthesise(settings, JudgeSettings(), "plain", StageContext("benchmark", "synth", "key", synthesis, 0, {}))
    recipe = recipe_of(chosen, folder)
    shape = SHAPES[chosen.model]
    model = random_model(shape, torch.bfloat16 if torch.cuda.is_available() else torch.float32, recipe)
    save_model(model, train_tokenizer(["print(input())"] * 4, 300), folder / "base")
    del model
    free_memory()
    stage = folder / "grpo"
    stage.mkdir()
    recorded = Recorded(synthesis)
    context = StageContext("benchmark", "grpo", "key", stage, 0, {"synth": synthesis})
    measured = measure_steps(recipe, context, recorded)
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "model": {"name": chosen.model, "parameters": shape.parameters, "lora": chosen.lora},
        "step": {"prompts": chosen.prompts, "rollouts": chosen.rollouts, "new_tokens": chosen.new_tokens},
        "generation": "vllm_colocate" if chosen.vllm else "transformers",
        "rollouts_by": read_result(stage).get("rollouts_by"),
        "completions_judged": recorded.given,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0,
        **measured,
    }


def recipe_of(chosen: argparse.Namespace, folder: Path) -> Recipe:
    """The GRPO section."""
    section: dict[str, Any] = {
        "prompts_per_step": chosen.prompts,
        "rollouts": chosen.rollouts,
        "max_prompt_length": 1024,
        "max_completion_length": chosen.new_tokens,
        "micro_batch": chosen.rollouts,
        "generation": "vllm_colocate" if chosen.vllm else "transformers",
        "rollout_batch": chosen.prompts * chosen.rollouts,  # in one go: a token takes as long for 8 rows as for 256
        "reward": {"kind": "paper", "tests": 10},
        "training": {"learning_rate": 1e-6, "max_steps": chosen.steps, "logging_steps": 1, "save_strategy": "no"},
    }
    if chosen.lora:
        section["lora"] = {"rank": chosen.lora, "alpha": 2 * chosen.lora}
    if chosen.vllm_share is not None:
        section["training"] |= {"vllm_gpu_memory_utilization": chosen.vllm_share, "vllm_enable_sleep_mode": False}
    return Recipe.model_validate({"name": "benchmark", "model": {"path": str(folder / "base")}, "grpo": section})


class Recorded:
    """Gives each rollout of a problem one of the teacher's completions for it, and one in twenty an endless program."""

    def __init__(self, synthesis: Path) -> None:
        self.pool: dict[str, list[str]] = defaultdict(list)
        for solution in read_records(SynthLayout(synthesis).solutions, Solution):
            self.pool[solution.problem_id].append(solution.response)
        self.drawn = random.Random(0)
        self.given = 0

    def __call__(self, problem_ids: list[str]) -> Completions:
        """Completions in the form in which TRL hands them to a reward."""
        texts = []
        for problem_id in problem_ids:
            self.given += 1
            texts.append(ENDLESS if self.given % 20 == 0 else self.drawn.choice(self.pool[problem_id]))
        return [[{"role": "assistant", "content": text}] for text in texts]


if __name__ == "__main__":
    main()
