"""What vLLM gets of a policy with adapters; as a module on two processes, of one that FSDP2 has sharded.

No engine is needed to say what it would get.
"""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from trl.distributed import DistributedBackend
from trl.generation.vllm_generation import VLLMGeneration

from tests.xcoder_train.training.two_processes import say
from xcoder_train.grpo.rollouts import merge_beside
from xcoder_train.training.settings import LoraSettings
from xcoder_train.training.weights import lora_config

Weights = dict[str, torch.Tensor]


def policy_with_adapters() -> tuple[Any, Weights, Weights]:
    """In bfloat16 with adapters in float32; the weights below them, and those that vLLM must get."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **shape)).to(torch.bfloat16)
    below = {name: weights.clone() for name, weights in model.state_dict().items()}
    policy = get_peft_model(model, lora_config(LoraSettings(rank=4, alpha=8, targets=["o_proj", "down_proj"])))
    expected = dict(below)
    for name, layer in policy.named_modules():
        if hasattr(layer, "get_delta_weight"):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.05)
            added = layer.get_delta_weight("default").detach()
            name = name.removeprefix("base_model.model.") + ".weight"
            assert added.dtype == torch.float32
            expected[name] = (below[name].float() + added).to(torch.bfloat16)
            assert not expected[name].equal(below[name])
    assert sum(expected[name] is not below[name] for name in below) == 4
    return policy, below, expected


def check_pushed(policy: PeftModel, backend: Any, expected: Weights) -> None:
    """Twice the same, as it must be where nothing was trained between."""
    generation = VLLMGeneration.__new__(VLLMGeneration)
    generation.model, generation._dist = policy, backend
    generation.accelerator = SimpleNamespace(device=torch.device("cpu"))
    merge_beside(generation)
    for _ in range(2):
        pushed = dict(generation._iter_named_params())
        assert pushed.keys() == expected.keys()
        assert all(weights.equal(expected[name]) for name, weights in pushed.items())
        assert {weights.dtype for weights in pushed.values()} == {torch.bfloat16}


def weights_below(policy: PeftModel) -> Weights:
    """By the names that they have without adapters."""
    return {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weights.detach()
        for name, weights in policy.named_parameters()
        if "lora" not in name
    }


def plain() -> DistributedBackend:
    """TRL's backend of one process."""
    return DistributedBackend(Accelerator(cpu=True))


def main() -> None:
    """Shard the policy over the processes, each matrix by itself; accelerate would shard over devices only."""
    import torch.distributed as distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    policy, below, expected = policy_with_adapters()
    for layer in [each for each in policy.modules() if isinstance(each, torch.nn.Linear)]:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh)
    assert all(isinstance(weights, DTensor) for weights in policy.parameters())
    sharded = SimpleNamespace(is_fsdp=True, fsdp_version=2, gather_params=lambda _: nullcontext())
    check_pushed(policy, sharded, expected)
    assert all(weights.full_tensor().equal(below[name]) for name, weights in weights_below(policy).items())
    say(f"checked on {distributed.get_rank()}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
