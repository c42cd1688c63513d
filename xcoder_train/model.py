"""The model of a run: loaded from a folder or a hub, or initialised from the recipe with a tokenizer of its own."""

import json
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)

from xcoder_train.config import InitSettings, LoraSettings, ModelSettings
from xcoder_train.core.errors import EnvironmentLacks, install_command
from xcoder_train.core.files import atomic_folder, write_json
from xcoder_train.core.generation.chat import stop_token_ids
from xcoder_train.core.generation.loading import load_model
from xcoder_train.core.seeds import derive_seed
from xcoder_train.results import read_result
from xcoder_train.tokenizer import train_tokenizer

ADAPTER = "adapter"
"""Beside `model/` in the folder of a stage that trained adapters."""

BEARABLE_LOSS = 0.1
"""Of an update, by rounding (`lost_by_rounding`); above it, rounding is avoided."""

_ADAPTER_CONFIG = "adapter_config.json"


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


def load_training_model(
    path: Path | str, settings: ModelSettings, *, lora: bool, quantize: Literal["nf4"] | None = None
) -> PreTrainedModel:
    """Weights to train: float32 masters for full fine-tuning (autocast computes in bf16), bf16 below adapters.

    With `quantize`, the frozen weights below adapters are held in 4 bits (NF4, twice quantised) and computed in bf16.
    """
    if quantize is None:
        dtype = torch.bfloat16 if lora and torch.cuda.is_available() else torch.float32
        model = load_trained(path, settings, dtype, merged=True)
        # Checkpoints hold tied weights once; told so, the Trainer ties them at a resume and calls no key missing.
        model._keys_to_ignore_on_save = {*(model._keys_to_ignore_on_save or ()), *model.all_tied_weights_keys}
        return model
    if find_spec("bitsandbytes") is None:
        raise EnvironmentLacks(
            f"sft.quantize needs the package bitsandbytes. Install it with: {install_command('qlora')}"
        )
    from transformers import BitsAndBytesConfig

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return load_model(path, dtype, settings.trust_remote_code, quantization)


def lora_config(settings: LoraSettings | None) -> Any:
    """The `peft.LoraConfig` of a recipe, or None for full fine-tuning."""
    if settings is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a complete model folder in one step: a half-written one never has the final name."""
    agree_on_stop_tokens(model, tokenizer)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def save_trained(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, start: Path | str, settings: ModelSettings, folder: Path
) -> dict[str, Any]:
    """Save what a trainer holds, gathered from all processes, as `folder`, and adapters as `adapter/` beside it.

    `folder` is a whole model: adapters are merged in float32, and the result is rounded as `model.save_dtype` says.
    Every process must call this; the first is answered the dtype, and what rounding lost of the update.
    """
    has_adapters = hasattr(trainer.accelerator.unwrap_model(trainer.model), "merge_and_unload")
    gathered = folder.with_name(f"{folder.name}.gathered")
    trainer.save_model(str(gathered))
    figures: dict[str, Any] = {}
    if trainer.accelerator.is_main_process:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # under ZeRO-3 loading would wait for the other processes
        before = load_trained(start, settings, merged=True)
        if has_adapters:
            adapter = _keep_adapter(gathered, start, folder.with_name(ADAPTER))
            trained = _merge(load_trained(start, settings, torch.float32, merged=True), adapter)
        else:
            trained = load_model(gathered, torch.float32, settings.trust_remote_code)
        lost = lost_by_rounding(before, trained, torch.bfloat16 if before.dtype == torch.float32 else before.dtype)
        dtype = before.dtype if lost <= BEARABLE_LOSS else torch.float32
        if settings.save_dtype is not None:
            dtype = getattr(torch, settings.save_dtype)
        save_model(trained.to(dtype), tokenizer, folder)  # type: ignore[arg-type]  # transformers wraps `to`
        shutil.rmtree(gathered)
        figures = {
            "saved_dtype": str(dtype).removeprefix("torch."),
            "update_lost": 0.0 if dtype == torch.float32 else lost,
            "update_lost_in_16_bits": lost,
        }
    trainer.accelerator.wait_for_everyone()
    return figures


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
        return _merge(start, adapter).to(held)  # type: ignore[arg-type]  # as in save_trained
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
    return str(json.loads((adapter / _ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])


def _merge(start: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    from peft import PeftModel

    return PeftModel.from_pretrained(start, str(adapter)).merge_and_unload()


def _keep_adapter(gathered: Path, start: Path | str, folder: Path) -> Path:
    """The two files that PEFT reads, with a start that is found from any working directory."""
    config = json.loads((gathered / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(Path(start).resolve() if Path(start).exists() else start)
    with atomic_folder(folder) as temporary:
        shutil.copy(gathered / "adapter_model.safetensors", temporary)
        write_json(temporary / _ADAPTER_CONFIG, config)
    return folder


def agree_on_stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The saved generation settings name the very tokens that training ended answers with."""
    if model.generation_config is not None:
        model.generation_config.eos_token_id = sorted(stop_token_ids(tokenizer, model))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
