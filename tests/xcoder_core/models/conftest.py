"""Tiny random models of the architectures that are trained, and asking a server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from openai_server import OpenAIServer
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tests.xcoder_core.models.openai_asking import SAMPLING, Ask, requests
from xcoder_core.models.loading import train_tokenizer
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Unanswered
from xcoder_core.models.settings import ServerSettings
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


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Ask a server for some completions; keyword arguments change its settings."""
    opened: list[OpenAIGenerator] = []

    def ask_server(server: OpenAIServer, count: int = 1, **changed: Any) -> list[Completion | Unanswered]:
        settings = ServerSettings(**{"base_url": server.base_url, "longest_wait": 0.02, **changed})
        opened.append(OpenAIGenerator(settings, "model"))
        return list(opened[-1].generate(requests(count), SAMPLING))

    yield ask_server
    for generator in opened:
        generator.close()


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
