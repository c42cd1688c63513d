"""What SFT and GRPO have in common in a plan: hours and price, memory, and an upper bound of their disk. No torch."""

from dataclasses import asdict, dataclass

from xcoder_core.models.folder import ModelShape
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, distribution
from xcoder_train.training.memory import MemoryEstimate, optimizer_numbers
from xcoder_train.training.settings import TrainedSettings

CHARACTERS_PER_TOKEN = 4
"""Bytes of text that a token stands for; code has fewer."""
_FLOAT32 = 4


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
    is_saved = training.save_strategy != "no" or training.save_minutes is not None
    kept = (training.save_total_limit or 0) + 1 if is_saved else 0
    checkpoints = {f"{kept} checkpoints": kept * checkpoint} if kept else {}
    return checkpoints | {"model": shape.parameters * _FLOAT32}


def warning(settings: TrainedSettings) -> dict[str, object]:
    """The figure `warning`, of what Muon over shards means; none for any other training."""
    if settings.optimizer.name != "muon" or distribution(settings.launch) not in SHARDING:
        return {}
    return {
        "warning": (
            "Muon orthogonalises in bfloat16 (torch.optim.Muon), and over shards its products are summed in another "
            "order: weights come within about 1e-3 of an unsharded run's, not to float32's rounding"
        )
    }
