"""A GRPO of seconds on the CPU for tests that hand the trainer their own rollouts or rewards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from xcoder_core.models.loading import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.training.start import quiet_libraries

Trainer = TypeVar("Trainer", bound=GRPOTrainer)


def tiny_model(texts: Sequence[str], **changed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model of one small layer, and a tokenizer that was made from these texts."""
    quiet_libraries()
    torch.set_num_threads(1)
    size = {"hidden_size": 16, "intermediate_size": 16, "layers": 1, "heads": 2, "kv_heads": 1, "vocabulary": 300}
    return initialise_model(InitSettings(**{**size, "context": 512, **changed}), texts, seed=0)


def prompt_rows(texts: Sequence[str]) -> Dataset:
    """Each text as a prompt, and as the name of its problem."""
    return Dataset.from_list([{"problem_id": text, "prompt": [{"role": "user", "content": text}]} for text in texts])


def tiny_trainer(
    kind: type[Trainer],
    folder: Path,
    made: tuple[PreTrainedModel, PreTrainedTokenizerBase],
    arguments: dict[str, Any],
    **given: Any,
) -> Trainer:
    """A trainer of this model with these arguments of TRL's; `given` is what else it takes."""
    plain: dict[str, Any] = {
        "output_dir": str(folder),
        "logging_steps": 1,
        "save_strategy": "no",
        "activation_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
    }
    model, tokenizer = made
    return kind(model=model, processing_class=tokenizer, args=GRPOConfig(**{**plain, **arguments}), **given)
