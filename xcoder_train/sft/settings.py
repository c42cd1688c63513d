"""Settings of supervised fine-tuning: the `sft:` section of a recipe."""

from typing import Literal

from pydantic import Field

from synth.config import Style
from xcoder_core.settings import Settings
from xcoder_train.training.settings import SftTraining, TrainedSettings

MOST_LOGITS = 2**26
"""On a CPU, SFT holds at most so many logits at once (256 MiB); beyond it, TRL's tiles trade time for memory."""


class SftDataSettings(Settings):
    """Which rows of the SFT dataset are trained on. With one seed, a smaller selection is part of a larger one."""

    tasks: int | None = Field(default=None, ge=1)
    """Tasks to train on, drawn by the seed; all when left out."""

    solutions_per_task: int | None = Field(default=None, ge=1)
    """Most solutions of one task; all when left out."""

    minimum_solutions: int | None = Field(default=None, ge=1)
    """Only tasks with at least this many accepted solutions, also when raw candidates are trained on."""

    styles: tuple[Style, ...] | None = None
    """Only tasks of these styles."""

    verified: bool = True
    """Only solutions that pass every test of their task; `false` takes raw candidates, right or wrong."""


class HeldOutLossSettings(Settings):
    """The loss on held-out solutions while SFT trains; no step depends on it."""

    every_steps: int = Field(default=100, ge=1)
    """Optimiser steps between two evaluations; there is one before the first step and one after the last too."""

    tasks: int = Field(default=64, ge=1)
    """Held-out tasks, chosen once from the seed; each with its golden solution."""


class SftSettings(TrainedSettings):
    """Supervised fine-tuning on the solutions of a synthesis; docs/training.md describes it."""

    data: SftDataSettings = SftDataSettings()

    batch: int = Field(default=128, ge=1)
    """Examples per optimiser step. With packing, the rows per step follow from the measured examples per row."""

    micro_batch: int = Field(default=1, ge=1)
    """Most rows (packed sequences, or examples without packing) per forward and backward on one device."""

    max_length: int = Field(default=32768, ge=1)
    """Longest row in tokens; longer examples are left out of training. Without a value, at most the model's context."""

    packing: bool = True
    """Put several examples into one row; attention does not cross them."""

    tokens: int | None = Field(default=None, ge=1)
    """Train until this many tokens have been read, prompts included; in place of `training`'s steps or epochs."""

    truncation_limit: float = Field(default=0.01, ge=0, le=1)
    """Training is refused if a larger share of the examples is longer than `max_length`."""

    quantize: Literal["nf4"] | None = None
    """With `lora`: hold the frozen weights in 4 bits while training (QLoRA, Dettmers et al., 2023)."""

    evaluation: HeldOutLossSettings | None = None
    """Measure the loss on held-out tasks while training, which it does not change: a finished stage stays finished."""

    training: SftTraining = SftTraining()
