"""Settings of evaluation: which models on which problems, how often, and how scores are reported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from evaluation.prompting import FEW_SHOT, EvaluationPrompt, Extraction
from reward.config import Policy
from xcoder_core.models.settings import GenerationSettings, SamplingSettings
from xcoder_core.settings import Settings, expanded


@dataclass(frozen=True)
class ModelLook:
    """How tables and figures show a model: its name, colour and mark."""

    name: str
    colour: str
    mark: str


ModelLabel = Literal["base", "sft", "rl"]
MODELS = {
    "base": ModelLook("Base model", "#8c959f", "s"),
    "sft": ModelLook("After SFT", "#6aa9e0", "o"),
    "rl": ModelLook("After RL", "#0b5cad", "D"),
}
"""The models that a run can measure, by the label that `models` names."""


def model_look(label: str) -> ModelLook:
    """The look of a model, also of one that is not a run's own."""
    return MODELS.get(label, ModelLook(label, "#24292f", "^"))


class EvaluationSettings(Settings):
    """Which models are measured on which problems, and how their scores are reported."""

    models: tuple[ModelLabel, ...] = get_args(ModelLabel)
    """Which models are measured, all on the same problems: `base` before training, `sft` after SFT, `rl` after GRPO.
    When left out, those that the recipe has."""

    benchmarks: tuple[str, ...] = ("heldout",)
    """`heldout` is every evaluation split of the run's synthesis; `file:PATH` a JSONL or Parquet file in
    LiveCodeBench's format; `livecodebench:NAME` a published window, such as `livecodebench:v5-279` (an unknown NAME,
    such as `v5`, prints the list); `evalplus:PATH` HumanEval or MBPP, also with EvalPlus' tests."""

    livecodebench_folder: Path | None = None
    """The folder of LiveCodeBench's `test.jsonl`, `test2.jsonl`, …; the hub's cache when left out. Does not affect a
    result."""

    prompt: EvaluationPrompt | None = None
    """How problems are asked; when left out, as `model.prompt` says. HumanEval and MBPP have their own wording.
    `livecodebench-base` is the few-shot prompt for base models, a text without a chat template."""

    few_shot_folder: Path | None = None
    """LiveCodeBench's examples for the prompt `livecodebench-base`: the folder
    `lcb_runner/prompts/few_shot_examples/generation` of a checkout."""

    extraction: Extraction = "last_block"
    """Which part of a completion is the program: `last_block` by the rule of the rewards, `livecodebench` by the
    official rule, `livecodebench-base` by the official rule for base models, `given` all of it."""

    policies: tuple[Policy, ...] = ()
    """Every program is judged by each of these policies; the first one gives the scores, and programs with different
    verdicts are listed. When left out, `judge.policy` alone."""

    samples: int = Field(default=8, ge=1)
    """Completions per problem."""

    k: tuple[int, ...] = (1, 8)
    """The k of each pass@k that is reported, at most `samples`. When left out, 1, and 8 if `samples` allows it."""

    sampling: SamplingSettings = SamplingSettings()
    generation: GenerationSettings = GenerationSettings()

    bootstrap: int = Field(default=10_000, ge=100)
    """Bootstrap resamples of the problems for each 95 % interval."""

    maximum_invalid_share: float = Field(default=0.01, ge=0, le=1)
    """No score is given if a larger share of the samples is invalid: no answer came, or the judge itself failed."""

    @property
    def sampled_in(self) -> str | None:
        """The numbers that completions are computed in, for the record; None where they are given."""
        if self.extraction == "given":
            return None
        return "the server's own" if self.generation.backend == "openai" else self.generation.dtype

    @field_validator("policies")
    @classmethod
    def _named_once(cls, policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
        if len(set(policies)) < len(policies):
            raise ValueError("expected each policy once")
        return policies

    @field_validator("benchmarks")
    @classmethod
    def _paths_as_a_shell_reads_them(cls, benchmarks: tuple[str, ...]) -> tuple[str, ...]:
        parts = [name.partition(":") for name in benchmarks]
        return tuple(f"{kind}:{expanded(path)}" if colon else kind for kind, colon, path in parts)

    @model_validator(mode="after")
    def _base_models_continue_a_text(self) -> Self:
        if self.prompt != FEW_SHOT:
            return self
        if self.few_shot_folder is None:
            raise ValueError(f"the prompt {FEW_SHOT} needs few_shot_folder, where LiveCodeBench's examples are")
        if self.extraction != FEW_SHOT:
            raise ValueError(f"the prompt {FEW_SHOT} shows programs without fences: set extraction to {FEW_SHOT} too")
        if self.generation.backend == "openai":
            raise ValueError(
                f"the prompt {FEW_SHOT} is a text, and a server of chat completions would put it into its template: "
                "set generation.backend to vllm or transformers"
            )
        return self
