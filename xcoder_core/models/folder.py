"""What is known of a model before it is loaded: its shape, and whether the files of its folder are there and whole."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from xcoder_core.errors import InputError
from xcoder_core.models.settings import ModelSettings

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


def looks_local(path: str) -> bool:
    """True when a model path can only mean a folder: it exists, or it is no `owner/name`."""
    return Path(path).exists() or path.startswith(("/", ".", "~")) or path.count("/") != 1


def check_model_folder(folder: Path) -> None:
    """Raise InputError when a folder does not hold a model, naming the file that is missing or damaged.

    Of the weights only the header is read, so a model of any size is checked at once.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; expected a model's folder or a hub name owner/name")
    weights = sorted(folder.glob("*.safetensors"))
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if weights else ["*.safetensors"]
    missing += [] if any((folder / name).is_file() for name in _TOKENIZERS) else ["tokenizer.json"]
    if missing:
        raise InputError(f"the folder {folder} is not a model: it lacks {' and '.join(missing)}")
    for file in [*weights, *folder.glob("config.json"), *folder.glob("tokenizer.json")]:
        try:
            if file.suffix == ".safetensors":
                with safe_open(file, "numpy"):  # compares the sizes in the header with the file's
                    continue
            if not isinstance(json.loads(file.read_bytes()), dict):
                raise ValueError("it is no JSON object")
        except (SafetensorError, ValueError, OSError) as error:
            fault = "cannot be read" if isinstance(error, OSError) else "is damaged"
            raise InputError(
                f"cannot load the model from {folder}: {file.name} {fault}: {error}. Copy the model there again"
            ) from error


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer of a model's folder brings a chat template, in one of the places where it may stand."""
    places = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
    if any((folder / name).exists() for name in places):
        return True
    file = folder / "tokenizer_config.json"
    return file.exists() and json.loads(file.read_bytes()).get("chat_template") is not None


def check_chat_template(file: Path) -> None:
    """Raise InputError for a file that is no chat template."""
    import jinja2

    try:
        text = file.read_text(encoding="utf-8-sig")
        # What a model is trained on stands between tags that only transformers knows.
        plain = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", text)
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{file}, line {error.lineno}: not a Jinja template: {error.message}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    if "messages" not in text:
        raise InputError(f"{file} is no chat template: it never names `messages`")


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
        return ModelShape(**model.init.model_dump(), head_size=model.init.hidden_size // model.init.heads)
    return None if model.path is None else shape_at(model.path)


def shape_at(path: Path | str) -> ModelShape | None:
    """The shape of the model in a folder, or of a known name; None for anything else. Raises InputError."""
    if str(path) in KNOWN:
        return KNOWN[str(path)]
    file = Path(path) / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
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
        raise InputError(f"{file} does not describe a decoder: {type(error).__name__} {error}") from error
