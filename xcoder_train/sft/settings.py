"""Settings of supervised fine-tuning: the `sft:` section of a recipe."""

from typing import Literal

from pydantic import Field

from synth.config import Style
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings
from xcoder_train.training.settings import LoraSettings, OptimizerSettings, SftTraining

MOST_LOGITS = 2**26
"""On a CPU, SFT holds at most so many logits at once (256 MiB); beyond it, TRL's tiles trade time for memory."""


class SftDataSettings(Settings):
    """Which rows of the SFT dataset are trained on. A smaller choice is contained in a larger one of the same seed."""

    tasks: int | None = Field(default=None, ge=1)
    """Tasks to train on, drawn by seed; all when left out."""

    solutions_per_task: int | None = Field(default=None, ge=1)
    """Most solutions of one task; all when left out."""

    minimum_solutions: int | None = Field(default=None, ge=1)
    """Only tasks with at least this many accepted solutions, whether those or raw candidates are trained on."""

    styles: tuple[Style, ...] | None = None
    """Only tasks of these styles."""

    verified: bool = True
    """Only solutions that pass every test of their task; otherwise candidates are taken as they come."""


class HeldOutLossSettings(Settings):
    """The loss on held-out solutions while SFT trains; it shows a curve and decides nothing."""

    every_steps: int = Field(default=100, ge=1)
    """Optimiser steps between two evaluations; there is one before the first step and one after the last too."""

    tasks: int = Field(default=64, ge=1)
    """Held-out tasks, chosen once from the seed; each with its golden solution."""


class SftSettings(Settings):
    """Supervised fine-tuning on the solutions of a synthesis; docs/training.md describes it."""

    launch: LaunchSettings = LaunchSettings()

    data: SftDataSettings = SftDataSettings()

    batch: int = Field(default=128, ge=1)
    """Examples per optimiser step. With packing, rows per step follow from the measured packing factor."""

    micro_batch: int = Field(default=1, ge=1)
    """Most rows (packed sequences, or examples without packing) per forward and backward on one device."""

    max_length: int = Field(default=32768, ge=1)
    """Longest row in tokens; the model's context where that is shorter and this is left out. Examples that are longer
    are left out."""

    packing: bool = True
    """Put several examples into one row, isolated from each other."""

    tokens: int | None = Field(default=None, ge=1)
    """Train until this many tokens have been seen, prompts included; in place of a length in `training`."""

    truncation_limit: float = Field(default=0.01, ge=0, le=1)
    """Refuse to train when a larger share of the examples than this is longer than `max_length`."""

    optimizer: OptimizerSettings = OptimizerSettings()

    lora: LoraSettings | None = None
    """Adapters instead of full fine-tuning."""

    quantize: Literal["nf4"] | None = None
    """With `lora`: hold the frozen weights in 4 bits while training (QLoRA, Dettmers et al., 2023)."""

    evaluation: HeldOutLossSettings | None = None
    """Evaluate on held-out tasks while training, for a curve of the loss. It changes nothing of the training, so a
    finished stage stands."""

    resume: bool = True
    """Continue from the newest whole checkpoint of an interrupted stage."""

    training: SftTraining = SftTraining()
