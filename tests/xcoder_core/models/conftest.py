"""Tiny random models of the architectures that are trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from xcoder_core.models.loading import train_tokenizer
from xcoder_core.models.transformers_backend import TransformersGenerator

VOCABULARY = 60
CONTEXT_FOR_VLLM = 256


def _tiny_model(architecture: str, context: int = 64) -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "initializer_range": 0.4,  # far from uniform, so that greedy paths differ between prompts
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape)).eval()
    return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=8)).eval()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small are slower on several threads."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_model() -> Callable[..., PreTrainedModel]:
    """Makes a model from an architecture's name; always with the same weights."""
    return _tiny_model


@pytest.fixture(scope="session")
def local() -> TransformersGenerator:
    """A float32 model in this process that vLLM takes too: its kernels want heads of 32 or more."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["print(1)"], 300)
    shape = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_FOR_VLLM,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **shape,
    )
    return TransformersGenerator(Qwen2ForCausalLM(config).eval(), tokenizer, batch_size=8)


@pytest.fixture(scope="session")
def local_folder(local: TransformersGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the same model lies for vLLM. Read it, never write to it."""
    folder = tmp_path_factory.mktemp("vllm") / "model"
    local.model.save_pretrained(folder)
    local.tokenizer.save_pretrained(folder)
    return folder
