"""Settings of the jobs that `xcoder slurm` writes: what they ask the cluster for, and how they find their software."""

from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from xcoder_core.settings import Settings

# What the script stands on; another value of these would break it.
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


class SlurmSettings(Settings):
    """The jobs of `xcoder slurm`. Nothing here shapes a result.

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
        given = (self.options, self.synth, self.sft, self.grpo, self.evaluation, self.report)
        taken = sorted(name for options in given for name in options if name in _OURS)
        if taken:
            raise ValueError(f"`{taken[0]}` is what the script of `xcoder slurm` works by; leave it out")
        if "JOB" in self.setup.splitlines():
            raise ValueError("a line `JOB` in `setup` would end the job's script")
        return self
