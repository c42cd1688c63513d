"""What SFT and GRPO have in common in a plan: memory, hours and price, and an upper bound of their disk. No torch.

Memory of one device is estimated before anything is loaded. Sources: 16 bytes per parameter for mixed-precision Adam
with float32 masters (Rajbhandari et al., 2020, section 3.1; the 16-bit copies stand under activations, since autocast
makes them in the forward pass), one residual stream per block with activation checkpointing (Korthikanti et al., 2022,
section 5), keys and values of every position for generation. Compared with the measured peak of small models by
tests/xcoder_train/training/test_memory.py.
"""

from dataclasses import asdict, dataclass

from xcoder_core.models.shape import ModelShape
from xcoder_train.recipe.schema import TrainedSettings
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, distribution, division

CHARACTERS_PER_TOKEN = 4
"""Bytes of text that a token stands for; code has fewer."""
_FLOAT32, _BFLOAT16 = 4, 2
# Python, torch and the libraries above it before a model is loaded: 0.51 to 0.57 GiB with torch 2.13.
_RUNTIME = 560 << 20
# 4-bit values with one 8-bit scale for 64 of them, and one float32 scale for 256 of those (Dettmers et al., 2023).
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, by part, and in the memory of one machine for what its processes offload."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    key_value_cache: int
    logits: int = 0
    runtime: int = 0
    host: int = 0

    @property
    def total(self) -> int:
        """All parts on the device; fragmentation, a GPU's own libraries and a gathered block of shards come on top."""
        return int(sum(vars(self).values())) - self.host


def estimate(
    shape: ModelShape,
    settings: TrainedSettings,
    tokens: int,
    cached_tokens: int,
    *,
    on_gpu: bool,
    is_quantized: bool,
) -> MemoryEstimate:
    """Memory while `tokens` are trained on at once and keys and values of `cached_tokens` are kept."""
    divided = division(settings.launch)
    shards, tokens = divided.shards, tokens // divided.row_parts
    bf16, checkpointed = settings.training.bf16, settings.training.activation_checkpointing
    computed = _BFLOAT16 if (on_gpu if bf16 is None else bf16) else _FLOAT32
    checkpointed = on_gpu if checkpointed is None else checkpointed
    stream, copies = computed, 0
    trained_width = _BFLOAT16 if is_quantized else _FLOAT32  # TRL makes adapters above 4-bit weights bfloat16
    if settings.lora is None:
        trained, weights = shape.parameters, shape.parameters * _FLOAT32
        if computed == _BFLOAT16 and shards == 1:
            # Autocast keeps 16-bit copies of float32 weights, and what it does not cast stays in float32.
            stream, copies = _FLOAT32, shape.parameters * _BFLOAT16
    else:
        trained = settings.lora.parameters(shape)
        frozen = _quantized_bytes(shape) if is_quantized else shape.parameters * (_BFLOAT16 if on_gpu else _FLOAT32)
        weights = frozen + trained * trained_width
    gradients = trained * trained_width
    optimizer = optimizer_numbers(shape, settings, trained) * trained_width
    host = 0
    if divided.offloads_optimizer:  # with it go the gradients, and the float32 weights that it steps
        host += gradients + optimizer + trained * _FLOAT32
        gradients, optimizer, weights = 0, 0, shape.parameters * computed
    if divided.offloads_parameters:
        host, weights = host + weights, 0
    return MemoryEstimate(
        weights=weights // shards,
        gradients=gradients // shards,
        optimizer=optimizer // shards,
        activations=_activations(shape, tokens, checkpointed, computed, stream) + copies,
        key_value_cache=cached_tokens * 2 * shape.layers * shape.kv_heads * shape.head_size * computed,
        runtime=0 if on_gpu else _RUNTIME,
        host=host // settings.launch.nodes,
    )


def _quantized_bytes(shape: ModelShape) -> int:
    """The matrices of the blocks in 4 bits; embeddings and the output layer stay in 16."""
    kept = shape.vocabulary * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return round((shape.parameters - kept) * _NF4) + kept * _BFLOAT16


def optimizer_numbers(shape: ModelShape, settings: TrainedSettings, trained: int) -> int:
    """Adam keeps two moments; Muon keeps one momentum for the matrices of the blocks."""
    if settings.optimizer.name == "adamw" or settings.lora is not None:
        return 2 * trained
    embeddings = shape.vocabulary * shape.hidden_size * (1 if shape.tie_embeddings else 2)
    return trained + embeddings


def _activations(shape: ModelShape, tokens: int, checkpointed: bool, computed: int, stream: int) -> int:
    """Bytes kept for the backward pass: a block's 14 hidden and 3 feed-forward widths, and the streams between blocks.

    6 of the 14, the inputs and results of norms and residual sums, are in `stream` bytes, all others in `computed`.
    """
    hidden, intermediate = shape.hidden_size, shape.intermediate_size
    block = tokens * (hidden * (8 * computed + 6 * stream) + 3 * intermediate * computed)
    return tokens * hidden * shape.layers * stream + block if checkpointed else block * shape.layers


@dataclass(frozen=True)
class Hours:
    """How long training takes and what it costs. `tokens_per_second` are those of one device."""

    tokens_per_second: float
    speed_is: str
    devices: int
    device_hours: float
    wall_hours: float
    price: float | None

    @classmethod
    def of(cls, launch: LaunchSettings, tokens: int, rate: float, speed_is: str = "as stated") -> "Hours":
        """The hours of so many tokens at so many a second on one device."""
        hours, price = tokens / rate / 3600, launch.hardware.price_per_hour
        cost = None if price is None else hours * price
        return cls(rate, speed_is, launch.processes, hours, hours / launch.processes, cost)


def weights_and_disk(
    settings: TrainedSettings,
    shape: ModelShape | None,
    memory: MemoryEstimate | None,
    disk_of_data: dict[str, int],
) -> dict[str, object]:
    """Trained parameters, memory and disk. `disk_of_data` are the bytes of what is beside checkpoints and the model."""
    disk = disk_of_data | _disk_of_weights(shape, settings)
    if settings.training.save_total_limit is None:  # every checkpoint is kept, which nothing bounds
        disk = {}
    return {
        "trained_parameters": None if shape is None else _trained(settings, shape),
        "memory": None if memory is None else {**asdict(memory), "total": memory.total},
        "disk": disk,
    }


def _trained(settings: TrainedSettings, shape: ModelShape) -> int:
    return shape.parameters if settings.lora is None else settings.lora.parameters(shape)


def _disk_of_weights(shape: ModelShape | None, settings: TrainedSettings) -> dict[str, int]:
    """The newest checkpoints, one more while it is written, and the model, into which adapters are merged."""
    if shape is None:
        return {}
    trained, training = _trained(settings, shape), settings.training
    checkpoint = (trained + optimizer_numbers(shape, settings, trained)) * _FLOAT32
    kept = 0 if training.save_strategy == "no" else (training.save_total_limit or 0) + 1
    checkpoints = {f"{kept} checkpoints": kept * checkpoint} if kept else {}
    return checkpoints | {"model": shape.parameters * _FLOAT32}


def over_shards(settings: TrainedSettings) -> str | None:
    """What Muon over shards means; None for any other training."""
    if settings.optimizer.name != "muon" or distribution(settings.launch) not in SHARDING:
        return None
    return (
        "Muon orthogonalises in bfloat16 (torch.optim.Muon), and over shards its products are summed in another "
        "order: weights come within about 1e-3 of an unsharded run's, not to float32's rounding"
    )


def warning(*said: str | None) -> dict[str, object]:
    """The figure `warning` of a stage; none where there is nothing to warn of."""
    text = ". ".join(filter(None, said))
    return {"warning": text} if text else {}
