"""Settings of evaluation: which models on which problems, how often, and how scores are reported."""

from typing import Literal

from pydantic import Field

from xcoder_train.core.generation.config import GenerationSettings, SamplingSettings
from xcoder_train.core.settings import Settings


class EvaluationSettings(Settings):
    """The `evaluation:` section of a recipe."""

    models: tuple[Literal["base", "sft", "rl"], ...] = ("base", "sft", "rl")
    """Which stages' models are measured, all on the same problems."""

    benchmarks: tuple[str, ...] = ("heldout",)
    """`heldout` is every evaluation split of the run's synthesis; `file:PATH` a LiveCodeBench JSONL or Parquet file."""

    samples: int = Field(default=8, ge=1)
    """Completions per problem."""

    k: tuple[int, ...] = (1, 8)
    """The k of each pass@k that is reported; none may exceed `samples`."""

    sampling: SamplingSettings = SamplingSettings()
    generation: GenerationSettings = GenerationSettings()

    bootstrap: int = Field(default=10_000, ge=100)
    """Resamples of the problems behind each 95 % interval."""

    maximum_invalid_share: float = Field(default=0.01, ge=0, le=1)
    """Samples excluded because no answer came or the judge's machinery failed, above which a score is refused."""
