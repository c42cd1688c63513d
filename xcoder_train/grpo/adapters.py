"""Adapters on their way to vLLM.

An engine in this process computes with adapters by LoRA layers of its own: no weight is rounded to take them in, and
what is sent is as small as they are. A server gets whole weights, to which the adapters are added.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl.generation.vllm_generation import VLLMGeneration

from xcoder_train.training.settings import LoraSettings

if TYPE_CHECKING:
    from vllm import LLM


def engine_takes(lora: LoraSettings | None, policy: PreTrainedModel, start: Path | str) -> bool:
    """Whether vLLM has layers for such adapters, and loads the weights that the policy has below them."""
    linear = LoraSettings.model_fields["targets"].default
    return lora is not None and {*lora.targets} <= {*linear} and policy.name_or_path == str(start)


@contextmanager
def engine_with_adapters(lora: LoraSettings) -> Iterator[None]:
    """Let the engine that TRL makes meanwhile have layers for the adapters, and keep its weights when it sleeps."""
    import trl.generation.vllm_generation as trl_vllm
    from vllm.config.lora import MaxLoRARanks

    engine = trl_vllm.LLM
    rank = min(rank for rank in get_args(MaxLoRARanks) if rank >= lora.rank)

    def made(**given: object) -> "LLM":
        llm = engine(**given, enable_lora=True, max_loras=1, max_lora_rank=rank)
        sleep = llm.sleep
        llm.sleep = lambda level: sleep(level=1)  # TRL would throw the weights away, and only adapters are sent again
        return llm

    trl_vllm.LLM = made
    try:
        yield
    finally:
        trl_vllm.LLM = engine


def push_adapters(generation: VLLMGeneration) -> None:
    """Let TRL's `sync_weights` give the engine the adapters alone. Every process takes part."""
    from vllm.lora.request import LoRARequest

    llm, generate = generation.llm, generation.llm.generate
    folder, numbers = tempfile.TemporaryDirectory(prefix="adapters-"), count(1)

    def sync_weights() -> None:
        if generation.enable_sleep_mode:
            torch.cuda.empty_cache()
            llm.wake_up(tags=["weights"])
            generation._llm_weights_sleeping = False
        save_file(gathered_adapters(generation), Path(folder.name) / "adapter_model.safetensors")
        generation.model.peft_config["default"].save_pretrained(folder.name)
        number = next(numbers)  # by a number that it knows, vLLM would take what it has
        llm.generate = partial(generate, lora_request=LoRARequest(f"policy-{number}", number, folder.name))
        llm.reset_prefix_cache()

    generation.sync_weights = sync_weights  # type: ignore[method-assign]


def gathered_adapters(generation: VLLMGeneration) -> dict[str, torch.Tensor]:
    """The policy's adapters by PEFT's names, whole in every process."""
    model = generation.model
    with generation._dist.gather_params([weights for weights in model.parameters() if weights.requires_grad]):
        return {
            generation._fix_param_name_to_vllm(name): _whole(weights).cpu().contiguous()
            for name, weights in get_peft_model_state_dict(model).items()
        }


def merge_beside(generation: VLLMGeneration) -> None:
    """Hand vLLM sums of weights and adapters: TRL adds in place and subtracts again, which moves weights in 16 bits."""
    model, weights_of = generation.model, generation._iter_named_params
    model.merge_adapter = model.unmerge_adapter = lambda: None  # type: ignore[assignment]
    layers = {f"{name.removeprefix('base_model.model.')}.weight": layer for name, layer in model.named_modules()}

    def merged() -> Iterator[tuple[str, torch.Tensor]]:
        for name, weights in weights_of():
            if hasattr(layers.get(name), "get_delta_weight"):
                added = _whole(layers[name].get_delta_weight("default"))
                weights = (weights + added).to(weights.dtype)
            yield name, weights

    generation._iter_named_params = merged  # type: ignore[method-assign]


def _whole(weights: torch.Tensor) -> torch.Tensor:
    """Gathered from all processes, where FSDP2 has sharded them."""
    weights = weights.detach()
    return weights.full_tensor() if isinstance(weights, DTensor) else weights
