"""What a stage takes on disk while it runs, as an upper bound known before it is begun. Text counts as it is read."""

from typing import Any

from synth.config import SynthSettings
from synth.estimate import Estimate
from xcoder_core.models.shape import ModelShape
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.memory import optimizer_numbers
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.settings import LoraSettings

_FLOAT32, _INT32 = 4, 4
CHARACTERS_PER_TOKEN = 4
"""Bytes of text that a token stands for; code has fewer."""
COPIES_OF_AN_ANSWER = 3
"""An answer with a program stands in the model's answers, among the candidates, and among the solutions."""
PROCEDURAL_TASK_BYTES = 6_000
"""Of the built-in teacher, with 8 candidates and 15 inputs, while executions are written; 3,200 once it is finished.
From 100 tasks of recipes/xcoder-qwen2.5-7b.yaml, by `du -sb` of the synthesis."""


def synthesis_disk(settings: SynthSettings, estimated: Estimate, tasks: int) -> int:
    """Bytes of a synthesis. Inputs and outputs of a language model's tasks are not in it: they can be of any size."""
    if not estimated.stages:
        runs = settings.candidates_per_task * settings.inputs_per_task
        return round(tasks * PROCEDURAL_TASK_BYTES * max(1.0, runs / (8 * 15)))
    tokens = sum(stage.completion_tokens for stage in estimated.stages.values())
    return tokens * CHARACTERS_PER_TOKEN * COPIES_OF_AN_ANSWER


def sft_disk(shape: ModelShape | None, settings: SftSettings, examples: int | None) -> dict[str, int]:
    """Bytes by part: the examples' token ids and labels while they are prepared, checkpoints, and the model.

    Empty where the recipe keeps every checkpoint, which nothing bounds.
    """
    if _keeps_every_checkpoint(settings):
        return {}
    copies = 3 if settings.packing else 2  # as they are read, packed, and saved
    prepared = {} if examples is None else {"token ids": examples * settings.max_length * 2 * _INT32 * copies}
    return prepared | _trained_disk(shape, settings)


def grpo_disk(shape: ModelShape | None, settings: GrpoSettings, new_tokens: int | None) -> dict[str, int]:
    """Bytes by part: the rollouts' text, checkpoints, and the model; empty as in `sft_disk`."""
    if _keeps_every_checkpoint(settings):
        return {}
    rollouts = {} if new_tokens is None else {"rollouts": new_tokens * CHARACTERS_PER_TOKEN}
    return rollouts | _trained_disk(shape, settings)


def _keeps_every_checkpoint(settings: SftSettings | GrpoSettings) -> bool:
    return settings.training.save_total_limit is None


def _trained_disk(shape: ModelShape | None, settings: SftSettings | GrpoSettings) -> dict[str, int]:
    """The newest checkpoints, one more while it is written, and the model, into which adapters are merged."""
    if shape is None:
        return {}
    lora: LoraSettings | None = settings.lora
    trained = shape.parameters if lora is None else lora.parameters(shape)
    checkpoint = (trained + optimizer_numbers(shape, settings, trained)) * _FLOAT32
    kept = 0 if settings.training.save_strategy == "no" else (settings.training.save_total_limit or 0) + 1
    found: dict[str, Any] = {f"{kept} checkpoints": kept * checkpoint} if kept else {}
    return found | {"model": shape.parameters * _FLOAT32}
