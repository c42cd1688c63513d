"""Sections of a recipe that no stage owns: inputs from other runs, how evaluation is started, the report, Slurm."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from evaluation.config import EvaluationSettings
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings

# Options of sbatch that the script of `xcoder slurm` needs as it writes them.
_OURS = (
    "array",
    "dependency",
    "no-requeue",
    "ntasks",
    "ntasks-per-node",
    "open-mode",
    "parsable",
    "requeue",
    "signal",
    "wrap",
)

Options = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")],
    Annotated[str, StringConstraints(pattern=r"^[^\n]+$")] | int | bool | None,
]


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


class SlurmSettings(Settings):
    """The jobs of `xcoder slurm`. Nothing here affects a result.

    Options are sbatch's long ones without their dashes, as `{account: us, gpus-per-node: null, gres: "gpu:h100:8"}`:
    `true` gives one that takes no value, and `null` leaves out one that the script has otherwise.
    """

    options: Options = {}
    """For the job of every stage."""

    synth: Options = {}
    """For that of synthesis, over `options`; likewise below. With `judge.executor: ray`, `nodes` is how many judge."""

    sft: Options = {}
    """For that of SFT; its nodes are `sft.launch.nodes`."""

    grpo: Options = {}
    """For that of GRPO; its nodes are `grpo.launch.nodes`."""

    evaluation: Options = {}
    """For that of evaluation."""

    report: Options = {}
    """For that of the report, which asks for one core and no GPU."""

    setup: str = ""
    """Shell lines that each job runs before its stage, such as `module load` and the activation of an environment; what
    they export reaches every node. Without them a job has the environment that it was submitted from."""

    @model_validator(mode="after")
    def _leaves_ours_alone(self) -> Self:
        taken = sorted(name for _, options in self if isinstance(options, dict) for name in options if name in _OURS)
        if taken:
            raise ValueError(f"`{taken[0]}` is what the script of `xcoder slurm` works by; leave it out")
        if "JOB" in self.setup.splitlines():
            raise ValueError("a line `JOB` in `setup` would end the job's script")
        return self
