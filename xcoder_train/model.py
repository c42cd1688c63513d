"""The model of a run: loaded from a folder or a hub, or initialised from the recipe with a tokenizer of its own."""

import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)

from xcoder_train.config import InitSettings, LoraSettings, ModelSettings
from xcoder_train.core.errors import EnvironmentLacks, InputError, install_command
from xcoder_train.core.files import atomic_folder
from xcoder_train.core.generation.chat import stop_token_ids
from xcoder_train.core.hub import loading
from xcoder_train.core.seeds import derive_seed
from xcoder_train.launch import context_parallel_size
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
    path: Path | str, settings: ModelSettings, dtype: torch.dtype | str = "auto", quantization: Any = None
) -> PreTrainedModel:
    """Load weights from a folder or hub name, in the dtype that they are stored in unless another is named."""
    with loading("model", path):
        # Read apart from the weights: what a config.json says of attention would otherwise go before what is said here,
        # and it may name a package of the hub, which is code.
        config = AutoConfig.from_pretrained(path, trust_remote_code=settings.trust_remote_code)
        return AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            trust_remote_code=settings.trust_remote_code,
            use_safetensors=True,  # the other form is a pickle
            attn_implementation=attention(),
            quantization_config=quantization,
        )


def load_training_model(
    path: Path | str, settings: ModelSettings, *, lora: bool, quantize: Literal["nf4"] | None = None
) -> PreTrainedModel:
    """Weights to train: float32 masters for full fine-tuning (autocast computes in bf16), bf16 below adapters.

    With `quantize`, the frozen weights below adapters are held in 4 bits (NF4, twice quantised) and computed in bf16.
    """
    if quantize is None:
        return load_model(path, settings, torch.bfloat16 if lora and torch.cuda.is_available() else torch.float32)
    if find_spec("bitsandbytes") is None:
        raise EnvironmentLacks(
            f"sft.quantize needs the package bitsandbytes. Install it with: {install_command('qlora')}"
        )
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
    )
    return load_model(path, settings, torch.bfloat16 if torch.cuda.is_available() else torch.float32, quantization)


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


def load_tokenizer(
    path: Path | str, settings: ModelSettings, *, needs_template: bool = True
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that stands beside the weights; it must have a chat template where prompts are messages."""
    with loading("tokenizer", path):
        tokenizer = AutoTokenizer.from_pretrained(
            path, padding_side="left", trust_remote_code=settings.trust_remote_code
        )
    if needs_template and tokenizer.chat_template is None:
        raise InputError(
            f"the tokenizer of {path} has no chat template, so prompts cannot be rendered. Use an instruct model, or "
            "save a chat_template.jinja beside the tokenizer."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a complete model folder in one step: a half-written one never has the final name."""
    agree_on_stop_tokens(model, tokenizer)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def save_trained(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, start: Path | str, settings: ModelSettings, folder: Path
) -> None:
    """Save what a trainer holds, gathered from all processes; adapters are merged into the model they started from.

    Every process must call this. The adapter itself stays in the last checkpoint.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "merge_and_unload"):
        agree_on_stop_tokens(model, tokenizer)
    gathered = folder.with_name(f"{folder.name}.gathered")
    trainer.save_model(str(gathered))
    if trainer.accelerator.is_main_process:
        if hasattr(model, "merge_and_unload"):
            from peft import PeftModel
            from transformers.integrations.deepspeed import unset_hf_deepspeed_config

            unset_hf_deepspeed_config()  # under ZeRO-3 loading would wait for the other processes
            adapted = PeftModel.from_pretrained(load_model(start, settings), str(gathered))
            save_model(adapted.merge_and_unload(), tokenizer, folder)
            shutil.rmtree(gathered)
        else:
            (gathered / "training_args.bin").unlink(missing_ok=True)
            with atomic_folder(folder) as temporary:
                shutil.copytree(gathered, temporary, dirs_exist_ok=True)
            shutil.rmtree(gathered)
    trainer.accelerator.wait_for_everyone()


def agree_on_stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The saved generation settings name the very tokens that training ended answers with."""
    if model.generation_config is not None:
        model.generation_config.eos_token_id = sorted(stop_token_ids(tokenizer, model))
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def attention() -> str:
    """Flash attention where its package and a GPU are; torch's own kernel everywhere else.

    Context parallelism splits a row over devices by replacing torch's kernel, and knows no other.
    """
    has_flash = torch.cuda.is_available() and find_spec("flash_attn") is not None
    return "flash_attention_2" if has_flash and context_parallel_size() == 1 else "sdpa"
