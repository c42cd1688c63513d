"""Settings of models: what training starts from, how completions are sampled, and what serves them.

Paths in a recipe are relative to the folder that the command runs in; only `extends` is relative to its own file.
"""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from xcoder_core.models.prompt import PromptStyle
from xcoder_core.settings import GivenPath, Settings, VariableName


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
    """Longest sequence, in tokens."""

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
    """Make a model from random weights instead."""

    prompt: PromptStyle = "plain"
    """How a problem becomes a prompt in SFT, GRPO and evaluation: `plain` is the statement alone, the others are
    LiveCodeBench's wording for a family of models."""

    save_dtype: Literal["float32", "bfloat16"] | None = None
    """The dtype in which SFT and GRPO save `model/`. When left out, that of the start model, or float32 if rounding
    would lose more than a tenth of the update."""

    chat_template: Path | None = None
    """File with a chat template (Jinja) that replaces the tokenizer's; base models often have none. The trained model
    is saved with it."""

    trust_remote_code: bool = False
    """Run code that comes with the model."""

    @model_validator(mode="after")
    def _one_starting_point(self) -> Self:
        if self.path is not None and self.init is not None:
            raise ValueError(f"`path` ({self.path}) and `init` exclude each other; a model starts from one of them")
        return self


class SamplingSettings(Settings):
    """How completions are sampled. Every parameter is sent and recorded, because servers inherit defaults from a
    model's own files."""

    temperature: float = Field(default=0.6, ge=0)
    """Softmax temperature; 0 is greedy."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus: the smallest set of tokens with at least this probability."""

    top_k: int = Field(default=20, ge=0)
    """Only the k likeliest tokens; 0 for all."""

    repetition_penalty: float = Field(default=1.0, gt=0)
    """Above 1, tokens that occurred before become less likely; 1 changes nothing."""

    max_new_tokens: int = Field(default=32768, ge=1)
    """Completions that reach this length, or the end of the model's context, without a stop token count as truncated.
    When left out, at most what the context holds."""


class ServerSettings(Settings):
    """A server that speaks OpenAI's chat completions protocol, and how it is asked."""

    base_url: str
    """The protocol's address, such as `http://localhost:8000/v1`, without a user name or key. A server that has moved
    is taken to serve the same model: another URL does not make a new result."""

    model: str | None = None
    """The name under which the server knows the model; when left out, the model's path or hub name, which is what
    `vllm serve PATH` calls it."""

    api_key_env: VariableName | None = None
    """The NAME of the environment variable that holds the key, never the key itself; null if the server needs none."""

    kind: Literal["openai", "vllm", "sglang"] = "openai"
    """`vllm` and `sglang` also get top_k and repetition_penalty; `openai` refuses them and does not get them, which is
    recorded."""

    extra_body: dict[str, JsonValue] = {}
    """Sent unchanged with every request, such as `chat_template_kwargs: {enable_thinking: true}`."""

    opens_reasoning: bool = False
    """True if the chat template opens the reasoning in the prompt (`<think>`) and the server does not return it
    separately. Otherwise an answer that was cut off in its reasoning could not be recognised."""

    max_concurrency: int = Field(default=64, ge=1, le=1000)
    """Most requests that the server gets at a time."""

    attempts: int = Field(default=8, ge=1)
    """How often a request is tried before it is unanswered. Attempts that do not reach the server do not count."""

    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds to open a connection."""

    token_timeout: float = Field(default=300.0, gt=0)
    """Seconds without a new token after which an attempt ends; the wait for the first one, in the server's queue,
    counts too."""

    total_timeout: float = Field(default=3600.0, gt=0)
    """Most seconds of a whole attempt."""

    longest_wait: float = Field(default=60.0, gt=0)
    """The wait between two attempts grows from at most 1 second to at most this many; a server's `retry-after` may ask
    for more, up to `give_up_after`."""

    give_up_after: float = Field(default=600.0, gt=0)
    """The run ends once the server could not be reached for this many seconds; the same command continues it."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    """Most attempts begun in a minute, evenly spaced; unlimited when left out."""

    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Most tokens of the attempts begun in a minute, counted in advance as providers do: the prompt, at four characters
    a token, and all of max_new_tokens. Unlimited when left out."""

    prompt_price: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, in any currency."""

    completion_price: float = Field(default=0.0, ge=0)
    """Price of a million completion tokens, in the same currency."""

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^@?#\s]+", url):
            raise ValueError("expected http:// or https:// with a host and a path, and no user, key or query in it")
        return url

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1e6


class GenerationSettings(Settings):
    """What turns prompts into completions."""

    backend: Literal["transformers", "vllm", "openai"] = "transformers"
    """`transformers` runs anywhere; `vllm` needs the extra `vllm` and a GPU; `openai` asks the server in the section
    `openai`."""

    openai: ServerSettings | None = None
    """The server that `backend: openai` asks."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What transformers and vLLM compute in, whatever the weights are stored in; `auto` is float32 on a CPU and
    bfloat16 on a GPU. It is recorded beside every score. A server computes in its own."""

    batch_size: int = Field(default=256, ge=1)
    """Sequences that the transformers backend decodes together."""

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes."""

    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that vLLM spreads one model over."""

    max_model_len: int | None = Field(default=None, ge=1)
    """Context of vLLM in tokens, prompt and completion together; when left out, the model's own."""

    @model_validator(mode="after")
    def _server_is_named(self) -> Self:
        if self.backend == "openai" and self.openai is None:
            raise ValueError("`backend: openai` needs an `openai:` section that names the server by its `base_url`")
        if self.backend == "openai" and self.dtype != "auto":
            raise ValueError("the server of `backend: openai` computes in its own `dtype`; leave it out")
        return self

    def on(self, *, has_gpu: bool) -> "GenerationSettings":
        """The settings with the dtype that `auto` stands for on such a machine."""
        named = ("bfloat16" if has_gpu else "float32") if self.dtype == "auto" else self.dtype
        return self.model_copy(update={"dtype": named})
