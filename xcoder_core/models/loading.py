"""Models and tokenizers: made from random weights, loaded from a folder or a hub, saved, and opened for sampling.

A stage leaves `model/`, and `adapter/` beside it where it trained adapters; it is loaded again as it was trained.
"""

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from xcoder_core.errors import InputError
from xcoder_core.files import atomic_folder
from xcoder_core.hub import loading
from xcoder_core.models.chat import stop_token_ids
from xcoder_core.models.prompt import NO_TEMPLATE
from xcoder_core.models.request import Generator
from xcoder_core.models.settings import GenerationSettings, InitSettings, ModelSettings
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.models.vllm_backend import VllmGenerator
from xcoder_core.seeds import derive_seed
from xcoder_core.share import context_parallel_size
from xcoder_core.stage import read_result

_DEFAULTS = ModelSettings()


def open_generator(
    settings: GenerationSettings,
    path: Path | str,
    seed: int,
    model: ModelSettings = _DEFAULTS,
    *,
    needs_template: bool = True,
    load: Callable[[torch.dtype], PreTrainedModel] | None = None,
    start_and_adapter: tuple[str, Path] | None = None,
) -> Generator:
    """What samples completions of the model at `path`; one that has a `close` must be closed.

    `model` says whether its code is trusted and which chat template it has. `load` makes it where its weights are not
    those of the folder, and `start_and_adapter` names those for vLLM.
    Raises `EnvironmentLacks` where a package, a key or the hub is missing, `InputError` for what is no model.
    """
    if settings.backend == "openai":
        from xcoder_core.models.openai_backend import OpenAIGenerator

        assert settings.openai is not None, "the settings ask for the server"
        return OpenAIGenerator(settings.openai, str(path))
    trusted = model.trust_remote_code
    tokenizer = load_tokenizer(path, trusted, model.chat_template, needs_template=needs_template)
    if settings.backend == "vllm":
        weights, adapter = start_and_adapter or (path, None)
        return VllmGenerator(weights, tokenizer, settings, trust_remote_code=trusted, seed=seed, adapter=adapter)
    has_gpu = torch.cuda.is_available()
    dtype = getattr(torch, settings.on(has_gpu=has_gpu).dtype)
    loaded = load_model(path, dtype, trusted) if load is None else load(dtype)
    if dtype == torch.float32:  # which flash attention does not know
        loaded.set_attn_implementation("sdpa")
    loaded.to("cuda" if has_gpu else "cpu")  # type: ignore[arg-type]  # transformers wraps it without its types
    return TransformersGenerator(loaded, tokenizer, settings.batch_size)


def load_model(
    path: Path | str, dtype: torch.dtype | str = "auto", trust_remote_code: bool = False, quantization: object = None
) -> PreTrainedModel:
    """Load weights from a folder or hub name, in the dtype that they are stored in unless another is named."""
    with loading("model", path):
        # Read apart from the weights: what a config.json says of attention would otherwise go before what is said here,
        # and it may name a package of the hub, which is code.
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        return AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,  # the other form is a pickle
            attn_implementation=attention(),
            quantization_config=quantization,
        )


def load_tokenizer(
    path: Path | str,
    trust_remote_code: bool = False,
    chat_template: Path | None = None,
    *,
    needs_template: bool = True,
) -> PreTrainedTokenizerBase:
    """Load the tokenizer that stands beside the weights; it must have a chat template where prompts are messages."""
    with loading("tokenizer", path):
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", trust_remote_code=trust_remote_code)
    if chat_template is not None:
        tokenizer.chat_template = chat_template.read_text(encoding="utf-8-sig")
    if needs_template and tokenizer.chat_template is None:
        raise InputError(f"the tokenizer of {path} {NO_TEMPLATE}")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def attention() -> str:
    """Flash attention where its package and a GPU are; torch's own kernel everywhere else.

    Context parallelism splits a row over devices by replacing torch's kernel, and knows no other.
    """
    has_flash = torch.cuda.is_available() and find_spec("flash_attn") is not None
    return "flash_attention_2" if has_flash and context_parallel_size() == 1 else "sdpa"


PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"

# One token opens each turn and one ends the answer: a small model has no positions to spare.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train on `texts`; digits stand alone, so numbers are read digit by digit. `vocabulary` counts every token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=PAD, eos_token=END, padding_side="left")
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def initialise_model(
    init: InitSettings, texts: Iterable[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random model of the recipe's shape, with a tokenizer trained on `texts`."""
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
    if init.architecture == "qwen3":  # which has a size of heads of its own
        shape["head_dim"] = init.hidden_size // init.heads
    torch.manual_seed(derive_seed(seed, "model", "init"))
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(init.architecture, **shape)), tokenizer


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
        return merged_adapter(start, adapter).to(held)  # type: ignore[arg-type]  # transformers wraps it without its types
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
