"""TRL's arguments of a stage: the recipe's `training` over our defaults, and over both what its other keys decide.

What `training` may hold is checked long before: `training_settings.py`, `training_checks.py`.
"""

import math
from typing import Any

import torch
from trl import GRPOConfig, SFTConfig

from xcoder_train.batching import BatchPlan, plan_grpo_batch
from xcoder_train.checkpoints import CHECKPOINTS
from xcoder_train.core.seeds import derive_seed
from xcoder_train.core.share import context_parallel_size
from xcoder_train.core.stage import StageContext
from xcoder_train.recipe import Recipe, present
from xcoder_train.trl_arguments import Trainer, built
from xcoder_train.wandb_run import start_tracking


def sft_config(recipe: Recipe, context: StageContext, batch: BatchPlan, tokens_per_example: float) -> SFTConfig:
    """The arguments of SFT. Begins the stage's W&B run where the recipe asks for one."""
    settings = present(recipe.sft)
    arguments: dict[str, Any] = {
        **_defaults(),
        **settings.training.for_trl(),
        **_decided(recipe, context, "sft", batch),
        "max_length": settings.max_length,
        "packing": settings.packing,
        "pad_to_multiple_of": 2 * context_parallel_size() if context_parallel_size() > 1 else None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    if settings.evaluation is not None:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": settings.evaluation.every_steps,
            "per_device_eval_batch_size": 1,  # so that the loss depends on no padding and on no number of processes
        }
    if settings.tokens is not None:
        arguments["max_steps"] = math.ceil(settings.tokens / (batch.examples_per_step * tokens_per_example))
    return built(SFTConfig, "sft", arguments)


def grpo_config(
    recipe: Recipe, context: StageContext, processes: int, stop_tokens: frozenset[int], held_out_tasks: int
) -> GRPOConfig:
    """The arguments of GRPO. Begins the stage's W&B run where the recipe asks for one."""
    settings = present(recipe.grpo)
    batch = plan_grpo_batch(settings.prompts_per_step, settings.rollouts, processes, settings.micro_batch)
    arguments: dict[str, Any] = {
        **_defaults(),
        "log_completions": True,
        **settings.training.for_trl(),
        **_decided(recipe, context, "grpo", batch),
        "num_completions_to_print": 0,
        "num_generations": settings.rollouts,
        "max_completion_length": settings.max_completion_length,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "use_vllm": settings.generation != "transformers",
    }
    if settings.evaluation is not None:
        samples = settings.evaluation.samples
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": settings.evaluation.every_steps,
            "num_generations_eval": samples,
            "per_device_eval_batch_size": evaluation_batch(held_out_tasks, samples, processes, settings.rollout_batch),
        }
    if settings.generation != "transformers":
        arguments["vllm_mode"] = settings.generation.removeprefix("vllm_")
        arguments.setdefault("vllm_max_model_length", settings.max_prompt_length + settings.max_completion_length)
        # vLLM knows the stop tokens of the folder that it loads, where a base model's end of turn may be missing.
        own = settings.training.trl.get("generation_kwargs") or {}
        stops = sorted(stop_tokens.union(own.get("stop_token_ids", ())))
        arguments["generation_kwargs"] = {**own, "stop_token_ids": stops}
    return built(GRPOConfig, "grpo", arguments)


def evaluation_batch(tasks: int, samples: int, processes: int, at_most: int) -> int:
    """Completions that a process evaluates at once: whole groups over all processes, and full batches if possible.

    accelerate fills the last batch up with the first tasks, which would then count several times.
    """
    group = samples // math.gcd(samples, processes)
    in_one = math.ceil(tasks * samples / (processes * group)) * group
    most = min(in_one, max(group, at_most // group * group))
    return min(range(most, most // 2, -group), key=lambda each: -tasks * samples % (each * processes))


def _defaults() -> dict[str, Any]:
    """Where TRL's own do not do, and a key that is left out depends on the machine."""
    on_gpu = torch.cuda.is_available()
    return {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        "ddp_find_unused_parameters": False,  # every parameter is used; searching for others costs a pass over them
    }


def _decided(recipe: Recipe, context: StageContext, trainer: Trainer, batch: BatchPlan) -> dict[str, Any]:
    """What both stages set, whatever `training` says."""
    return {
        "output_dir": str(context.folder / CHECKPOINTS),
        "seed": derive_seed(context.seed, trainer, "trainer") % 2**31,
        "per_device_train_batch_size": batch.micro_batch,
        "gradient_accumulation_steps": batch.accumulation,
        "report_to": start_tracking(recipe.tracking, context, recipe.model_dump(mode="json")),
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }
