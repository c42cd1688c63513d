"""Tiny random models of the architectures that are trained."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

VOCABULARY = 60


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
