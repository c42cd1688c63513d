"""The model of a run: loaded from a folder or a hub, or initialised from the recipe with a tokenizer of its own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from xcoder_train.config import InitSettings, ModelSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.seeds import derive_seed
from xcoder_train.tokenizer import train_tokenizer


def initialise_model(
    init: InitSettings, texts: Iterable[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random model of the recipe's shape, with a tokenizer trained on `texts`."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    tokenizer = train_tokenizer(texts, init.vocabulary)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": init.hidden_size,
        "intermediate_size": init.intermediate_size,
        "num_hidden_layers": init.layers,
        "num_attention_heads": init.heads,
        "num_key_value_heads": init.kv_heads,
        "max_position_embeddings": init.context,
        "tie_word_embeddings": init.tie_embeddings,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(derive_seed(seed, "model", "init"))
    if init.architecture == "qwen2":
        model: PreTrainedModel = Qwen2ForCausalLM(Qwen2Config(**shape))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=init.hidden_size // init.heads))
    return model, tokenizer


def load_model(
    path: Path | str, settings: ModelSettings, *, dtype: torch.dtype | str = "auto", for_training: bool
) -> PreTrainedModel:
    """Load weights from a folder or hub name. Training wants float32 master weights unless told otherwise."""
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, trust_remote_code=settings.trust_remote_code, attn_implementation=_attention()
        )
    except (OSError, ValueError) as error:
        raise InputError(_unreadable("model", path, error)) from error
    return model.train(for_training)


def load_tokenizer(path: Path | str, settings: ModelSettings) -> PreTrainedTokenizerBase:
    """Load the tokenizer that stands beside the weights; it must have a chat template."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, padding_side="left", trust_remote_code=settings.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise InputError(_unreadable("tokenizer", path, error)) from error
    if tokenizer.chat_template is None:
        raise InputError(
            f"the tokenizer of {path} has no chat template, so prompts cannot be rendered. Use an instruct model, or "
            "save a chat_template.jinja beside the tokenizer."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a complete model folder in one step: a half-written one never has the final name."""
    from xcoder_train.core.files import atomic_folder
    from xcoder_train.core.generation.chat import stop_token_ids

    if model.generation_config is not None:
        model.generation_config.eos_token_id = sorted(stop_token_ids(tokenizer, model))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _attention() -> str:
    """Flash attention where its package and a GPU are; torch's own kernel everywhere else."""
    from importlib.util import find_spec

    return "flash_attention_2" if torch.cuda.is_available() and find_spec("flash_attn") else "sdpa"


def _unreadable(what: str, path: Path | str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return (
        f"cannot load the {what} from {path}: {reason} Expected a folder with config.json, weights and tokenizer files, "
        "or the name of a model on the hub that this machine can reach."
    )
