"""vLLM's offline engine with an adapter above its start, against transformers with the same two."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.xcoder_train.test_livecodebench_evaluation import save_tiny_model
from xcoder_core.models.request import Request
from xcoder_core.models.settings import GenerationSettings, SamplingSettings

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
PROMPTS = ("print", "def f(x):", "1 2 3", "import", "while", "n = int(", "[4, 5]", "x")
CLEAR = 1.0  # between the two likeliest tokens: two ways to compute in 16 bits agree on which is the first


def _start_and_adapter(folder: Path) -> tuple[Path, Path]:
    """A tiny model, and an adapter that decides what it writes."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    save_tiny_model(folder / "start")
    tokenizer = AutoTokenizer.from_pretrained(folder / "start")
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        **shape,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "start")
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"]))
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.5)
    adapted.save_pretrained(folder / "adapter")
    return folder / "start", folder / "adapter"


def test_vllm_writes_by_the_adapter_above_its_start(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from xcoder_core.models.chat import prompt_token_ids
    from xcoder_core.models.vllm_backend import VllmGenerator

    start, adapter = _start_and_adapter(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    requests = [Request(text, [{"role": "user", "content": text}], 1) for text in PROMPTS]
    sampling = SamplingSettings(temperature=0, top_p=1, top_k=0, max_new_tokens=1)

    def firsts(model: torch.nn.Module) -> dict[str, tuple[int, float]]:
        """The likeliest first token after each prompt, and its distance to the next."""
        found = {}
        for text in PROMPTS:
            logits = (
                model(torch.tensor([prompt_token_ids(tokenizer, [{"role": "user", "content": text}])]))
                .logits[0, -1]
                .float()
            )
            best, second = logits.topk(2).values.tolist()
            found[text] = (int(logits.argmax()), best - second)
        return found

    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        without = firsts(model)
        model.load_adapter(str(adapter))
        adapted = firsts(model)
    clear = {text: token for text, (token, margin) in adapted.items() if margin > CLEAR}
    assert any(token != without[text][0] for text, token in clear.items() if without[text][1] > CLEAR)
    settings = GenerationSettings(backend="vllm", gpu_memory_utilization=0.1)
    engine = VllmGenerator(start, tokenizer, settings, trust_remote_code=False, seed=1, adapter=adapter)
    written = {one.request_id: one.token_ids for one in engine.generate(requests, sampling)}  # type: ignore[union-attr]
    assert {text: written[text][0] for text in clear} == clear
