"""Sections of a recipe that no stage owns: inputs from other runs, how evaluation is started, the report."""

from pathlib import Path

from pydantic import Field

from evaluation.config import EvaluationSettings
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings


class InputSettings(Settings):
    """Finished stages of other runs. Such a stage has no section in this recipe.

    Each is a run's folder (its newest result of that stage is taken) or the folder of one result.
    """

    synth: Path | None = None
    """Synthesised data to train and evaluate on."""

    sft: Path | None = None
    """SFT result that GRPO and evaluation start from."""

    grpo: Path | None = None
    """GRPO result to evaluate."""


class EvaluationStageSettings(EvaluationSettings):
    """The `evaluation:` section: what is measured, and how the processes that sample are started."""

    launch: LaunchSettings = LaunchSettings()
    """Each process samples its share of the problems with a whole model of its own, on `generation.tensor_parallel`
    GPUs; the first one judges. The samples are the same for any number of processes."""


class ReportSettings(Settings):
    """What `report.html` shows."""

    samples: int = Field(default=12, ge=0)
    """Completions that the report shows in full."""
