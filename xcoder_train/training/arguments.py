"""TRL's arguments that SFT and GRPO share: our defaults, and what other keys of a recipe decide.

What `training` may hold is checked long before: `settings.py` here, `recipe/training_checks.py`.
"""

from typing import Any

import torch

from xcoder_core.seeds import derive_seed
from xcoder_core.stage import StageContext
from xcoder_train.training.batching import BatchPlan
from xcoder_train.training.checkpoints import CHECKPOINTS
from xcoder_train.training.trl_arguments import Trainer


def default_arguments() -> dict[str, Any]:
    """Where TRL's own do not do, and a key that is left out depends on the machine."""
    on_gpu = torch.cuda.is_available()
    return {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        "ddp_find_unused_parameters": False,  # every parameter is used; searching for others costs a pass over them
    }


def decided_arguments(context: StageContext, trainer: Trainer, batch: BatchPlan) -> dict[str, Any]:
    """What both stages set, whatever `training` says."""
    return {
        "output_dir": str(context.folder / CHECKPOINTS),
        "seed": derive_seed(context.seed, trainer, "trainer") % 2**31,
        "per_device_train_batch_size": batch.micro_batch,
        "gradient_accumulation_steps": batch.accumulation,
        "report_to": context.start_tracking(context),
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }
