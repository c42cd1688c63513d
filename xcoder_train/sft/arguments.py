"""TRL's arguments of SFT: the recipe's `training` over our defaults, and over both what its other keys decide."""

import math
from typing import Any

from trl import SFTConfig

from xcoder_core.share import context_parallel_size
from xcoder_core.stage import StageContext
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.arguments import decided_arguments, default_arguments
from xcoder_train.training.batching import BatchPlan
from xcoder_train.training.trl_arguments import built


def sft_config(settings: SftSettings, context: StageContext, batch: BatchPlan, tokens_per_example: float) -> SFTConfig:
    """The arguments of SFT. Begins the stage's W&B run where the recipe asks for one."""
    arguments: dict[str, Any] = {
        **default_arguments(),
        **settings.training.for_trl(),
        **decided_arguments(context, "sft", batch),
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
