"""The model of a run: loaded from a folder or a hub, or initialised from the recipe with a tokenizer of its own."""

import json
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
from xcoder_train.core.errors import EnvironmentLacks, InputError
from xcoder_train.core.files import atomic_folder, write_json
from xcoder_train.core.generation.chat import stop_token_ids
from xcoder_train.core.seeds import derive_seed
from xcoder_train.launch import context_parallel_size
from xcoder_train.results import read_result
from xcoder_train.tokenizer import train_tokenizer

ADAPTER = "adapter"
"""Beside `model/` in the folder of a stage that trained adapters."""

BEARABLE_ERROR = 0.1
"""What rounding may change of an update (see `rounding_error`) before it is avoided; a tenth costs about a hundredth of
what was gained."""

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


def load_model(
    path: Path | str, settings: ModelSettings, dtype: torch.dtype | str = "auto", quantization: Any = None
) -> PreTrainedModel:
    """Load weights from a folder or hub name, in the dtype that they are stored in unless another is named."""
    try:
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
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of a damaged or hostile folder, transformers raises whatever it stumbles over
        raise InputError(_unreadable("model", path, error)) from error


def load_training_model(
    path: Path | str, settings: ModelSettings, *, lora: bool, quantize: Literal["nf4"] | None = None
) -> PreTrainedModel:
    """Weights to train: float32 masters for full fine-tuning (autocast computes in bf16), bf16 below adapters.

    With `quantize`, the frozen weights below adapters are held in 4 bits (NF4, twice quantised) and computed in bf16.
    """
    if quantize is None:
        return load_trained(path, settings, training_dtype(lora=lora), merged=True)
    if find_spec("bitsandbytes") is None:
        raise EnvironmentLacks(
            "sft.quantize needs the package bitsandbytes. Install it with: pip install 'xcoder-train[qlora]'"
        )
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=training_dtype(lora=True),
    )
    return load_model(path, settings, training_dtype(lora=True), quantization)


def training_dtype(*, lora: bool) -> torch.dtype:
    """What the weights are held in while training."""
    return torch.bfloat16 if lora and torch.cuda.is_available() else torch.float32


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
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, padding_side="left", trust_remote_code=settings.trust_remote_code
        )
    except Exception as error:  # of a damaged file, tokenizers raises that class itself
        raise InputError(_unreadable("tokenizer", path, error)) from error
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
) -> dict[str, Any]:
    """Save what a trainer holds, gathered from all processes, as `folder`, and adapters as `adapter/` beside it.

    `folder` is a whole model: adapters are merged in float32, and what comes out is rounded to `model.save_dtype`. Every
    process must call this. The first one's answer are the figures: the dtype, and what rounding changed of the update.
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
            trained = load_model(gathered, settings, torch.float32)
        error = rounding_error(before, trained, torch.bfloat16 if before.dtype == torch.float32 else before.dtype)
        dtype = before.dtype if error <= BEARABLE_ERROR else torch.float32
        if settings.save_dtype is not None:
            dtype = getattr(torch, settings.save_dtype)
        save_model(trained.to(dtype), tokenizer, folder)  # type: ignore[arg-type]  # transformers wraps `to`
        shutil.rmtree(gathered)
        figures = {
            "saved_dtype": str(dtype).removeprefix("torch."),
            "rounding_error": 0.0 if dtype == torch.float32 else error,
            "rounding_error_in_16_bits": error,
        }
    trainer.accelerator.wait_for_everyone()
    return figures


def rounding_error(before: PreTrainedModel, trained: PreTrainedModel, dtype: torch.dtype) -> float:
    """What rounding the trained weights to `dtype` changes of the update: |rounded - trained| / |trained - before|."""
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
    """Load a model as it was trained: where `model/` of a stage would not hold that, the start and the adapter.

    The adapter stays above its start, as while training, or is merged into it in float32.
    """
    adapter = needed_adapter(path, torch.float32 if merged else dtype)
    if adapter is None:
        return load_model(path, settings, dtype)
    exact = torch.float32 if merged or dtype == "auto" else dtype
    start = load_trained(start_of(adapter), settings, exact, merged=True)
    if not merged:
        start.load_adapter(str(adapter))
        return start
    whole = _merge(start, adapter)
    return whole if dtype == "auto" else whole.to(dtype)  # type: ignore[arg-type,no-any-return]


def needed_adapter(path: Path | str, dtype: torch.dtype | str) -> Path | None:
    """The adapter that must be loaded because the merged `model/` in `dtype` would lose too much of the update."""
    return Path(path).with_name(ADAPTER) if merging_error(path, dtype) > BEARABLE_ERROR else None


def merging_error(path: Path | str, dtype: torch.dtype | str) -> float:
    """What of an adapter's update the merged weights in `path` lose when they are computed in `dtype`."""
    folder = Path(path)
    if folder.name != "model" or not folder.with_name(ADAPTER).is_dir():
        return 0.0
    figures = read_result(folder.parent)
    is_narrow = dtype in (torch.bfloat16, torch.float16)
    return float(figures["rounding_error_in_16_bits" if is_narrow else "rounding_error"])


def start_of(adapter: Path) -> str:
    """The folder or hub name of the model that an adapter was trained above."""
    return str(json.loads((adapter / _ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])


def whole_start_of(adapter: Path) -> str:
    """`start_of` for what loads whole models only. Raises InputError where that start lacks an adapter of its own."""
    start = start_of(adapter)
    if needed_adapter(start, torch.float32) is not None:
        raise InputError(
            f"{start} was saved in 16 bits and has lost too much for {adapter} to stand above it. Evaluate by "
            "evaluation.generation.backend=transformers, or train without model.save_dtype"
        )
    return start


def _merge(start: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    from peft import PeftModel

    return PeftModel.from_pretrained(start, str(adapter)).merge_and_unload()  # type: ignore[no-any-return]


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


def attention() -> str:
    """Flash attention where its package and a GPU are; torch's own kernel everywhere else.

    Context parallelism splits a row over devices by replacing torch's kernel, and knows no other.
    """
    has_flash = torch.cuda.is_available() and find_spec("flash_attn") is not None
    return "flash_attention_2" if has_flash and context_parallel_size() == 1 else "sdpa"


def _unreadable(what: str, path: Path | str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if "trust_remote_code" in str(error):
        return (
            f"cannot load the {what} from {path}: {reason}. If you trust that code, set model.trust_remote_code: true"
        )
    return (
        f"cannot load the {what} from {path}: {reason}. Expected a folder with config.json, weights and tokenizer "
        "files, or the name of a model on the hub that this machine can reach."
    )
