"""A model that a stage has trained: saved as `model/`, with `adapter/` beside it, and loaded as it was trained."""

import json
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xcoder_core.files import atomic_folder
from xcoder_core.models.chat import stop_token_ids
from xcoder_core.models.loading import load_model
from xcoder_core.models.settings import ModelSettings
from xcoder_core.stage import read_result

ADAPTER = "adapter"
"""Beside `model/` in the folder of a stage that trained adapters."""

BEARABLE_LOSS = 0.1
"""Of an update, by rounding (`lost_by_rounding`); above it, rounding is avoided."""

ADAPTER_CONFIG = "adapter_config.json"


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a complete model folder in one step: a half-written one never has the final name."""
    agree_on_stop_tokens(model, tokenizer)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def lost_by_rounding(before: PreTrainedModel, trained: PreTrainedModel, dtype: torch.dtype) -> float:
    """The share of the update that rounding to `dtype` loses: |rounded - trained| / |trained - before|."""
    started = dict(before.named_parameters())
    lost = moved = 0.0
    for name, tensor in trained.named_parameters():
        weights = tensor.detach().float()
        lost += (weights.to(dtype).float() - weights).norm().item() ** 2
        moved += (weights - started[name].detach().float()).norm().item() ** 2
    return (lost / moved) ** 0.5 if moved else 0.0


def load_trained(
    path: Path | str, settings: ModelSettings, dtype: torch.dtype | str = "auto", *, merged: bool = False
) -> PreTrainedModel:
    """Load a model as it was trained: where a stage's `model/` does not hold that in `dtype`, its start and adapter.

    The adapter stays above the start, as while training, or is merged into it in float32.
    """
    adapter = needed_adapter(path, torch.float32 if merged else dtype)
    if adapter is None:
        return load_model(path, dtype, settings.trust_remote_code)
    held = torch.float32 if dtype == "auto" else dtype
    start = load_trained(start_of(adapter), settings, torch.float32 if merged else held, merged=True)
    if merged:
        return merged_adapter(start, adapter).to(held)  # type: ignore[arg-type]  # as in save_trained
    start.load_adapter(str(adapter))
    return start


def needed_adapter(path: Path | str, dtype: torch.dtype | str) -> Path | None:
    """The adapter beside the merged weights in `path`, where these have lost too much of it or would in `dtype`."""
    adapter = Path(path).with_name(ADAPTER)
    if Path(path).name != "model" or not adapter.is_dir():
        return None
    is_narrow = dtype in (torch.bfloat16, torch.float16)
    lost = read_result(adapter.parent)["update_lost_in_16_bits" if is_narrow else "update_lost"]
    return adapter if lost > BEARABLE_LOSS else None


def start_of(adapter: Path) -> str:
    """The folder or hub name of the model that an adapter was trained above."""
    return str(json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])


def merged_adapter(start: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The model with the adapter of a folder merged into it."""
    from peft import PeftModel

    return PeftModel.from_pretrained(start, str(adapter)).merge_and_unload()


def agree_on_stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The saved generation settings name the very tokens that training ended answers with."""
    if model.generation_config is not None:
        model.generation_config.eos_token_id = sorted(stop_token_ids(tokenizer, model))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
