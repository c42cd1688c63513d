"""Sections of a recipe that no stage owns: inputs of other runs, evaluation's launch, the report, Slurm, ablations."""

import re
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from evaluation.config import EvaluationSettings, ModelLabel
from xcoder_core.settings import Settings
from xcoder_train.training.launch_settings import LaunchSettings

# Options of sbatch that the script of `xcoder slurm` needs as it writes them.
_OURS = "array dependency no-requeue ntasks ntasks-per-node open-mode parsable requeue signal wrap".split()

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Options = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")],
    Annotated[str, StringConstraints(pattern=r"^[^\n]+$")] | int | bool | None,
]


class InputSettings(Settings):
    """Finished stages of other runs. Such a stage has no section in this recipe.

    Each path is a run's folder (its newest result of that stage is taken) or the folder of one result.
    """

    synth: Path | None = None
    """Synthesised data to train and evaluate on."""

    sft: Path | None = None
    """SFT result that GRPO and evaluation start from."""

    grpo: Path | None = None
    """GRPO result to evaluate."""


class EvaluationStageSettings(EvaluationSettings):
    """What is measured, and how the processes that sample are started."""

    launch: LaunchSettings = LaunchSettings()
    """Each process samples its share of the problems with a whole model of its own, on `generation.tensor_parallel`
    GPUs; the first one judges. The samples are the same for any number of processes."""


class ReportSettings(Settings):
    """What `report.html` shows."""

    samples: int = Field(default=12, ge=0)
    """Completions that the report shows in full."""


class SlurmSettings(Settings):
    """The jobs of `xcoder slurm`. Nothing here affects a result.

    Options are sbatch's long ones without their dashes, such as
    `{account: us, gpus-per-node: null, gres: "gpu:h100:8"}`. `true` is for an option without a value; `null` removes
    one that the script would have.
    """

    options: Options = {}
    """Options for the job of every stage."""

    synth: Options = {}
    """Options for the job of synthesis, over `options`. With `judge.executor: ray`, `nodes` is how many judge."""

    sft: Options = {}
    """Options for the job of SFT; its nodes are `sft.launch.nodes`."""

    rates: Options = {}
    """For that of the pass rates that GRPO's curriculum needs."""

    grpo: Options = {}
    """Options for the job of GRPO; its nodes are `grpo.launch.nodes`."""

    evaluation: Options = {}
    """Options for the job of evaluation; `nodes` as in `synth`."""

    report: Options = {}
    """Options for the job of the report, which asks for one core and no GPU."""

    setup: str = ""
    """Shell lines that each job runs before its stage, such as `module load` and the activation of an environment; what
    they export reaches every node. Without them, a job has the environment of the shell that submitted it."""

    @model_validator(mode="after")
    def _leaves_ours_alone(self) -> Self:
        taken = sorted(name for _, options in self if isinstance(options, dict) for name in options if name in _OURS)
        if taken:
            raise ValueError(f"`{taken[0]}` is what the script of `xcoder slurm` works by; leave it out")
        if "JOB" in self.setup.splitlines():
            raise ValueError("a line `JOB` in `setup` would end the job's script")
        return self


Arms = dict[str, dict[str, Any]]


class MetricSettings(Settings):
    """The one number by which arms are compared."""

    model: ModelLabel = "sft"
    """Which stage's model."""

    benchmark: str = "heldout"
    """The benchmark, by its name in the scores of `evaluation.benchmarks`."""

    k: int = Field(default=1, ge=1)
    """The k of pass@k. Papers call pass@1 over n samples avg@n."""


class PaperFigures(Settings):
    """The figures that a paper prints for the same arms."""

    source: str
    """Paper and table or figure."""

    window: str
    """Benchmark, its dates and number of problems, and the statistic."""

    percent: dict[str, float] = Field(min_length=1)
    """The printed figure of each arm; with two axes an arm's name is its labels joined by `-`."""


class AblationSettings(Settings):
    """Several variants of this recipe (arms), for `xcoder ablate`."""

    question: str
    """What the ablation asks, in a sentence; it is printed above the table."""

    axes: dict[str, Arms] = Field(min_length=1, max_length=2)
    """One or two axes, by name. Each has its arms, by label, and each arm its settings (`key.path: value`)."""

    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Every arm is run with each seed, which chooses its tasks, its initial weights and its order of training."""

    equal: Literal["epochs", "steps", "tokens"]
    """What is equal between the arms of the first axis; an arm that deviates is refused."""

    metric: MetricSettings = MetricSettings()

    paper: PaperFigures | None = None
    """What a paper reports for these arms."""

    @field_validator("axes")
    @classmethod
    def _arms_are_named_and_differ(cls, axes: dict[str, Arms]) -> dict[str, Arms]:
        for axis, arms in axes.items():
            if len(arms) < 2:
                raise ValueError(f"axis `{axis}` has {len(arms)} arm(s); a comparison needs two")
            for label in arms:
                if not _LABEL.fullmatch(label):
                    raise ValueError(
                        f"arm {label!r} of axis `{axis}` becomes part of a folder's name; expected letters, digits, "
                        "`.`, `_` and `-`"
                    )
        return axes

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("expected different numbers from 0, such as [0, 1, 2]")
        return seeds

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [arm_name(labels) for labels in product(*self.axes.values())]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise ValueError(f"two arms would share the name {doubled}; rename one of their labels")
        unknown = sorted(set(self.paper.percent) - set(names)) if self.paper is not None else []
        if unknown:
            raise ValueError(f"paper.percent names {unknown[0]!r}, which is no arm; the arms are {', '.join(names)}")
        return self


def arm_name(labels: tuple[str, ...]) -> str:
    """The name of the arm at one label of each axis, as folders and the paper's figures have it."""
    return "-".join(labels)
