"""What training takes of one device's memory, estimated before anything is loaded.

Sources: 16 bytes per parameter for mixed-precision Adam with float32 masters (Rajbhandari et al., 2020, section 3.1,
less the 16-bit copies, which autocast makes layer by layer), one residual stream per block with activation
checkpointing (Korthikanti et al., 2022, section 5), keys and values of every position for generation.
"""

from dataclasses import dataclass

from xcoder_train.config import GrpoSettings, LoraSettings, SftSettings
from xcoder_train.model_shape import ModelShape

_FLOAT32, _BFLOAT16 = 4, 2


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    key_value_cache: int

    @property
    def total(self) -> int:
        """All parts together; fragmentation and the framework's own come on top."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.key_value_cache


def estimate_sft(shape: ModelShape, settings: SftSettings) -> MemoryEstimate:
    """Memory of SFT. With an accelerate configuration the states are taken to be sharded over all processes."""
    tokens = settings.micro_batch * settings.max_length
    return _estimate(shape, settings, tokens, cached_tokens=0)


def estimate_grpo(shape: ModelShape, settings: GrpoSettings) -> MemoryEstimate:
    """Memory of GRPO; vLLM's share of the device (`vllm_gpu_memory_utilization`) is not in it."""
    longest = settings.max_prompt_length + settings.max_completion_length
    cached = settings.rollout_batch * longest if settings.generation == "transformers" else 0
    return _estimate(shape, settings, settings.micro_batch * longest, cached)


def adapter_parameters(shape: ModelShape, lora: LoraSettings) -> int:
    """Trainable numbers of the adapters: rank x (inputs + outputs) of every targeted layer."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sizes = {
        "q_proj": shape.hidden_size + queries,
        "k_proj": shape.hidden_size + keys,
        "v_proj": shape.hidden_size + keys,
        "o_proj": queries + shape.hidden_size,
        "gate_proj": shape.hidden_size + shape.intermediate_size,
        "up_proj": shape.hidden_size + shape.intermediate_size,
        "down_proj": shape.intermediate_size + shape.hidden_size,
    }
    return shape.layers * lora.rank * sum(sizes.get(target, 0) for target in lora.targets)


def _estimate(
    shape: ModelShape, settings: SftSettings | GrpoSettings, tokens: int, cached_tokens: int
) -> MemoryEstimate:
    shards = settings.launch.processes if settings.launch.accelerate is not None else 1
    if settings.lora is None:
        trained, weights = shape.parameters, shape.parameters * _FLOAT32
    else:
        trained = adapter_parameters(shape, settings.lora)
        weights = shape.parameters * _BFLOAT16 + trained * _FLOAT32
    return MemoryEstimate(
        weights=weights // shards,
        gradients=trained * _FLOAT32 // shards,
        optimizer=_optimizer_numbers(shape, settings, trained) * _FLOAT32 // shards,
        activations=_activations(shape, tokens, settings.training.get("activation_checkpointing", True) is not False),
        key_value_cache=cached_tokens * 2 * shape.layers * shape.kv_heads * shape.head_size * _BFLOAT16,
    )


def _optimizer_numbers(shape: ModelShape, settings: SftSettings | GrpoSettings, trained: int) -> int:
    """Adam keeps two moments; Muon keeps one momentum for the matrices of the blocks."""
    if settings.optimizer.name == "adamw" or settings.lora is not None:
        return 2 * trained
    embeddings = shape.vocabulary * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return trained + embeddings


def _activations(shape: ModelShape, tokens: int, checkpointed: bool) -> int:
    """What stays for the backward pass, in 16 bits: a block's 14 hidden and 3 feed-forward widths, and the streams."""
    block = tokens * (14 * shape.hidden_size + 3 * shape.intermediate_size)
    kept = tokens * shape.hidden_size * shape.layers + block if checkpointed else block * shape.layers
    return kept * _BFLOAT16
