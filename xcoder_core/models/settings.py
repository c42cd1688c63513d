"""Settings of a model: what training starts from, and how it is asked.

Paths in a recipe are relative to the folder that the command runs in; only `extends` is relative to its own file.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from xcoder_core.models.prompt import PromptStyle
from xcoder_core.settings import GivenPath, Settings


class InitSettings(Settings):
    """A model made from random weights, with its own tokenizer trained on the run's data."""

    architecture: Literal["qwen2", "qwen3"] = "qwen2"
    """Which transformers architecture is built."""

    hidden_size: int = Field(default=96, ge=8)
    """Width of the residual stream."""

    intermediate_size: int = Field(default=256, ge=8)
    """Width of the feed-forward layers."""

    layers: int = Field(default=4, ge=1)
    """Transformer blocks."""

    heads: int = Field(default=4, ge=1)
    """Attention heads."""

    kv_heads: int = Field(default=4, ge=1)
    """Key and value heads; must divide `heads`."""

    context: int = Field(default=512, ge=16)
    """Longest sequence in tokens."""

    vocabulary: int = Field(default=960, ge=300)
    """Tokens of the tokenizer, special ones included."""

    tie_embeddings: bool = True
    """Use the input embedding as the output layer too."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) must be divisible by heads ({self.heads})")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be divisible by kv_heads ({self.kv_heads})")
        return self


class ModelSettings(Settings):
    """The starting point of training, by `path` or by `init`, and how models are asked."""

    path: GivenPath | None = None
    """Local folder or hub name of a pretrained model."""

    init: InitSettings | None = None
    """Make the model from random weights instead."""

    prompt: PromptStyle = "plain"
    """How a problem becomes a prompt, in SFT, GRPO and evaluation alike: `plain` is the statement and nothing else, the
    others are LiveCodeBench's wording for a family of models."""

    save_dtype: Literal["float32", "bfloat16"] | None = None
    """What SFT and GRPO save `model/` in. When left out, what the start is stored in, but float32 where rounding would
    lose more than a tenth of the update."""

    chat_template: Path | None = None
    """File with a chat template (Jinja) in place of the tokenizer's own, which base models often lack. What is trained
    is saved with it."""

    trust_remote_code: bool = False
    """Run code that comes with the model."""

    @model_validator(mode="after")
    def _one_starting_point(self) -> Self:
        if self.path is not None and self.init is not None:
            raise ValueError(f"`path` ({self.path}) and `init` exclude each other; a model starts from one of them")
        return self
