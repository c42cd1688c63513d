"""The table of stages: what the project knows of each one beside its settings and its work.

A new training stage is a folder with its settings and its work, and a row here, of which the stages that go on with its
model name it in `starts_from`. Its section stands in `recipe/schema.py`; other runs and Slurm name it in
`recipe/settings.py`. What it would also like: a file in `plan/`, to be planned in figures; a label in
`evaluation/config.py`, for its model to be measured; and a table in `training/decided.toml`, if it is the first to use
a trainer of TRL. Stages whose settings are `SftSettings` or `GrpoSettings` are checked as those are.
"""

from dataclasses import dataclass
from typing import Literal

StageName = Literal["synth", "sft", "rates", "grpo", "evaluation", "report"]

# Of the settings of a server, those that say how fast and how patiently it is asked; its answers depend on the others.
_HOW_A_SERVER_IS_ASKED = """
    api_key_env attempts base_url completion_price connect_timeout give_up_after longest_wait max_concurrency
    prompt_price requests_per_minute token_timeout tokens_per_minute total_timeout
""".split()


def _how_sampled(section: str) -> tuple[str, ...]:
    """Settings of such a `generation` section that do not change what is sampled."""
    asked = (f"openai.{name}" for name in _HOW_A_SERVER_IS_ASKED)
    return tuple(f"{section}.{name}" for name in ("batch_size", "gpu_memory_utilization", "tensor_parallel", *asked))


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: StageName
    title: str
    """Its name in the report and in tables."""
    purpose: str
    """What its command does, as `xcoder --help` says it."""
    work: str
    """`module:function` of what it does in its own process. That of a training stage knows no recipe: it is called with
    its section, the `sections` and a `StageContext`, and returns its figures. Any other gets recipe and context."""
    version: int
    """Raised when its code changes so that equal settings give another result, and when a default changes."""
    does_not_affect_result: tuple[str, ...] = ()
    """Settings of its section that do not change what it makes, such as how it is started, by dotted path."""
    starts_from: tuple[StageName, ...] = ()
    """Training stages whose model it goes on with; the last one that the recipe has counts."""
    sections: tuple[str, ...] = ("model",)
    """The other sections that a training stage is called with, and that others read of a model's prompts and judge."""
    trains: str | None = None
    """The label of the model that it trains, in `evaluation.models`."""
    trainer: str | None = None
    """The configuration of TRL's trainer that it trains by; what decides its arguments is in `decided.toml`."""
    plan: str | None = None
    """`module:function` of its part of `xcoder plan`, which gets the recipe, the model's shape, and whether there are
    GPUs."""
    judges: bool = False
    """Whether it runs programs, which a Ray cluster can do for it."""
    module: str | None = None
    """What `python -m` and launchers start it by, where that is not `xcoder_train.runs.stage NAME`."""
    typed: str | None = None
    """What one types after `xcoder`, where that is not its name."""

    @property
    def subcommand(self) -> str:
        """What follows `xcoder` to run it alone, before the recipe."""
        return self.typed or self.name

    @property
    def command(self) -> tuple[str, ...]:
        """What follows `python -m` to start it, before the recipe."""
        return ("xcoder_train.runs.stage", self.name) if self.module is None else (self.module,)


STAGES: dict[StageName, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "synth",
            "Synthesis",
            "Synthesise verified tasks, solutions and tests.",
            work="xcoder_train.runs.work:make_synthesis",
            plan="xcoder_train.plan.synth:plan",
            version=2,
            judges=True,
            does_not_affect_result=(
                "executor",
                "expected",
                "push_to",
                *(f"teacher.server.{name}" for name in _HOW_A_SERVER_IS_ASKED),
            ),
        ),
        Stage(
            "sft",
            "SFT",
            "Fine-tune on the accepted solutions.",
            work="xcoder_train.sft.train:train",
            plan="xcoder_train.plan.sft:plan",
            version=2,
            does_not_affect_result=("launch", "resume", "evaluation", "training.save_minutes"),
            trains="sft",
            trainer="trl.SFTConfig",
            module="xcoder_train.sft",
        ),
        Stage(
            "rates",
            "Pass rates",
            "Measure how often the model solves each prompt before GRPO.",
            work="xcoder_train.runs.rates:work",
            version=1,
            starts_from=("sft",),
            sections=("model", "judge"),
            judges=True,
        ),
        Stage(
            "grpo",
            "GRPO",
            "Train on judged rollouts.",
            work="xcoder_train.grpo.train:train",
            plan="xcoder_train.plan.grpo:plan",
            version=2,
            does_not_affect_result=(
                "launch",
                "resume",
                "alarms",
                "keep_rollouts",
                "max_num_seqs",
                "vllm_batch",
                "training.save_minutes",
                "curriculum.launch",
                *_how_sampled("curriculum.generation"),
            ),
            starts_from=("sft",),
            sections=("model", "judge"),
            trains="rl",
            trainer="trl.GRPOConfig",
            judges=True,
            module="xcoder_train.grpo",
        ),
        Stage(
            "evaluation",
            "Evaluation",
            "Measure pass@k of models or submissions, or compare results.",
            work="xcoder_train.runs.evaluation:work",
            typed="eval",
            plan="xcoder_train.plan.synth:plan_evaluation",
            version=3,
            judges=True,
            does_not_affect_result=(
                "launch",
                "models",  # each has a key of its own
                "livecodebench_folder",
                "few_shot_folder",
                *_how_sampled("generation"),
            ),
        ),
        Stage("report", "Report", "Write the run's HTML report.", work="xcoder_train.runs.work:make_report", version=1),
    )
}

TRAINING: dict[str, Stage] = {stage.trains: stage for stage in STAGES.values() if stage.trains is not None}
"""The stages that train a model, in their order, by the label of that model."""

KEYED: tuple[StageName, ...] = ("synth", *(stage.name for stage in TRAINING.values()))
"""The stages whose results each have a folder `<stage>/<key>`, and may be named by `inputs`."""
