"""The shape of a model, known before it is loaded: from `model.init`, a local config.json, or a few known names.

Only of families whose parameters and operations are counted rightly here; experts or a vision tower would not be.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from xcoder_core.errors import InputError
from xcoder_core.models.settings import InitSettings, ModelSettings

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of `model_type`: dense decoders with gated feed-forward layers, which count alike but for biases and norms."""


@dataclass(frozen=True)
class ModelShape:
    """A decoder of one of `FAMILIES`. Sizes in elements."""

    architecture: str
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    context: int
    vocabulary: int
    tie_embeddings: bool

    @property
    def parameters(self) -> int:
        """Trainable numbers: embeddings, blocks, final norm, and the output layer unless it is tied."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = self.hidden_size * (queries + 2 * keys) + queries * self.hidden_size
        if self.architecture == "qwen2":
            attention += queries + 2 * keys  # biases of the three input projections
        if self.architecture == "qwen3":
            attention += 2 * self.head_size  # norms of queries and keys
        block = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocabulary * self.hidden_size * (1 if self.tie_embeddings else 2)
        return embeddings + self.layers * block + self.hidden_size


# From the config.json of each model.
KNOWN = {
    "Qwen/Qwen2.5-Coder-7B-Instruct": ModelShape("qwen2", 3584, 18944, 28, 28, 4, 128, 32768, 152064, False),
    "Qwen/Qwen3-8B-Base": ModelShape("qwen3", 4096, 12288, 36, 32, 8, 128, 32768, 151936, False),
}


def model_shape(model: ModelSettings) -> ModelShape | None:
    """The shape of the run's starting point; None for a hub model that is not at hand, and for other families."""
    if model.init is not None:
        return _initial(model.init)
    return None if model.path is None else shape_at(model.path)


def shape_at(path: Path | str) -> ModelShape | None:
    """The shape of the model in a folder, or of a known name; None for anything else. Raises InputError."""
    if str(path) in KNOWN:
        return KNOWN[str(path)]
    config = Path(path) / "config.json"
    return _read(config) if config.is_file() else None


def _initial(init: InitSettings) -> ModelShape:
    return ModelShape(**init.model_dump(), head_size=init.hidden_size // init.heads)


def _read(path: Path) -> ModelShape | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["model_type"] not in FAMILIES:
            return None
        return ModelShape(
            architecture=config["model_type"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads", config["num_attention_heads"]),
            head_size=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
            context=config["max_position_embeddings"],
            vocabulary=config["vocab_size"],
            tie_embeddings=config.get("tie_word_embeddings", False),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe a decoder: {type(error).__name__} {error}") from error
