"""Settings of generation: how completions are sampled and what serves them."""

from typing import Literal

from pydantic import Field

from xcoder_train.core.settings import Settings


class SamplingSettings(Settings):
    """Every parameter is sent and recorded, because servers inherit defaults from a model's own files."""

    temperature: float = Field(default=0.6, ge=0)
    """Softmax temperature; 0 is greedy."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus: the smallest set of tokens with at least this probability."""

    top_k: int = Field(default=20, ge=0)
    """Only the k likeliest tokens; 0 for all."""

    repetition_penalty: float = Field(default=1.0, gt=0)
    """1 leaves the distribution alone."""

    max_new_tokens: int = Field(default=32768, ge=1)
    """Completions that reach this length without a stop token are truncated, and counted as such."""


class GenerationSettings(Settings):
    """What turns prompts into completions."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """`transformers` runs anywhere; `vllm` needs the extra of that name and a GPU."""

    batch_size: int = Field(default=256, ge=1)
    """Sequences that the transformers backend decodes together."""

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes."""

    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that vLLM spreads one model over."""

    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus completion, in tokens; the model's own when left out."""
