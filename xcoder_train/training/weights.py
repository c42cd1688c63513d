"""The weights that a stage trains: loaded for training, all of them or below adapters, and saved when it is done."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from xcoder_core.errors import EnvironmentLacks, install_command
from xcoder_core.files import atomic_folder, write_json
from xcoder_core.models.loading import (
    ADAPTER,
    ADAPTER_CONFIG,
    BEARABLE_LOSS,
    load_model,
    load_trained,
    lost_by_rounding,
    merged_adapter,
    save_model,
)
from xcoder_core.models.settings import ModelSettings
from xcoder_train.training.settings import LoraSettings

if TYPE_CHECKING:
    from peft import LoraConfig


def load_training_model(
    path: Path | str, settings: ModelSettings, *, lora: bool, quantize: Literal["nf4"] | None = None
) -> PreTrainedModel:
    """Weights to train: float32 masters for full fine-tuning (autocast computes in bf16), bf16 below adapters.

    With `quantize`, the frozen weights below adapters are held in 4 bits (NF4, twice quantised) and computed in bf16.
    """
    if quantize is None:
        dtype = torch.bfloat16 if lora and torch.cuda.is_available() else torch.float32
        model = load_trained(path, settings, dtype, merged=True)
        # Checkpoints hold tied weights once; by this the Trainer ties them at a resume and reports no missing key.
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


def lora_config(settings: LoraSettings | None) -> "LoraConfig | None":
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


def save_trained(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, start: Path | str, settings: ModelSettings, folder: Path
) -> dict[str, object]:
    """Save what a trainer holds, gathered from all processes, as `folder`, and adapters as `adapter/` beside it.

    `folder` is a complete model: adapters are merged in float32, and the result is rounded as `model.save_dtype` says.
    Every process must call this; the first is answered the dtype, and what rounding lost of the update.
    """
    has_adapters = hasattr(trainer.accelerator.unwrap_model(trainer.model), "merge_and_unload")
    gathered = folder.with_name(f"{folder.name}.gathered")
    trainer.save_model(str(gathered))
    figures: dict[str, object] = {}
    if trainer.accelerator.is_main_process:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()  # under ZeRO-3 loading would wait for the other processes
        before = load_trained(start, settings, merged=True)
        if has_adapters:
            adapter = _keep_adapter(gathered, start, folder.with_name(ADAPTER))
            trained = merged_adapter(load_trained(start, settings, torch.float32, merged=True), adapter)
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


def _keep_adapter(gathered: Path, start: Path | str, folder: Path) -> Path:
    """The two files that PEFT reads, with a start that is found from any working directory."""
    config = json.loads((gathered / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(Path(start).resolve() if Path(start).exists() else start)
    with atomic_folder(folder) as temporary:
        shutil.copy(gathered / "adapter_model.safetensors", temporary)
        write_json(temporary / ADAPTER_CONFIG, config)
    return folder
