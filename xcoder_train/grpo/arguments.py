"""TRL's arguments of GRPO: the recipe's `training` over our defaults, and over both what its other keys decide."""

import math
from collections.abc import Mapping

from trl import GRPOConfig

from xcoder_core.stage import StageContext
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.training.arithmetic import plan_grpo_batch
from xcoder_train.training.trl_arguments import built, decided_arguments, default_arguments


def grpo_config(
    settings: GrpoSettings,
    context: StageContext,
    processes: int,
    stop_tokens: frozenset[int],
    held_out_tasks: int,
    engine: Mapping[str, object],
) -> GRPOConfig:
    """The arguments of GRPO; `engine` are those of a colocated vLLM's memory. Begins the stage's W&B run, if any."""
    batch = plan_grpo_batch(settings.prompts_per_step, settings.rollouts, processes, settings.micro_batch)
    arguments: dict[str, object] = {
        **default_arguments(),
        "log_completions": True,
        **settings.training.for_trl(),
        **decided_arguments(context, "grpo", batch),
        "num_completions_to_print": 0,
        "steps_per_generation": batch.accumulation * settings.updates_per_rollouts,
        "num_generations": settings.rollouts,
        "max_completion_length": settings.max_completion_length,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "use_vllm": settings.generation != "transformers",
    }
    if settings.evaluation is not None:
        samples = settings.evaluation.samples
        # vLLM has its own queue, and would run empty at the end of each batch.
        at_most = settings.rollout_batch if settings.generation == "transformers" else held_out_tasks * samples
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": settings.evaluation.every_steps,
            "num_generations_eval": samples,
            "per_device_eval_batch_size": evaluation_batch(held_out_tasks, samples, processes, at_most),
        }
    if settings.generation != "transformers":
        arguments |= {"vllm_mode": settings.generation.removeprefix("vllm_"), **engine}
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
