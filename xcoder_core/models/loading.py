"""Models: weights and tokenizers from a folder or a hub, and the one door to what samples completions from them."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from xcoder_core.errors import InputError
from xcoder_core.hub import loading
from xcoder_core.models.generation import GenerationSettings
from xcoder_core.models.prompt import NO_TEMPLATE
from xcoder_core.models.request import Generator
from xcoder_core.models.settings import ModelSettings
from xcoder_core.share import context_parallel_size

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
        from xcoder_core.models.vllm_backend import VllmGenerator

        weights, adapter = start_and_adapter or (path, None)
        return VllmGenerator(weights, tokenizer, settings, trust_remote_code=trusted, seed=seed, adapter=adapter)
    from xcoder_core.models.transformers_backend import TransformersGenerator

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
