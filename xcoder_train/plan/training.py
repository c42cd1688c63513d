"""What SFT and GRPO have in common in a plan: hours and price, memory, an upper bound of their disk. No torch.

The hours that pass without a checkpoint are held against the time that a Slurm job has.
"""

import math
from dataclasses import asdict, dataclass

from xcoder_core.errors import InputError
from xcoder_core.models.folder import ModelShape
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import is_whole
from xcoder_train.stages import StageName
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, distribution
from xcoder_train.training.memory import MemoryEstimate, optimizer_numbers
from xcoder_train.training.settings import TrainedSettings, TrainingSettings

CHARACTERS_PER_TOKEN = 4
"""Bytes of text that a token stands for; code has fewer."""
GRACE_SECONDS = 120
"""Seconds before a job's time is up at which its stage is asked to end; more than a stage may take for it."""
WHY_CHECKPOINTS = "why_checkpoints"
"""The key of what only the page of a plan says, not its figures."""
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


def checkpoints(
    recipe: Recipe, stage: StageName, steps: int | None, hours: Hours | None, together: int = 1
) -> dict[str, object]:
    """The hours between two checkpoints, where those of all steps are known, and what they come from, for the page.

    `together` steps share their rollouts. Raises InputError where the recipe's `slurm` gives the stage less time: its
    job would begin again without end.
    """
    training = recipe.trained[stage].training
    time = {**recipe.slurm.options, **getattr(recipe.slurm, stage)}.get("time")
    limit, minutes = job_hours(time), training.save_minutes or 0
    between, why = None, f"{stage}.training.save_minutes is {minutes:g}"
    if steps and hours is not None:
        between, why = _between(training, steps, hours.wall_hours / steps, together)
    first = minutes / 60 if between is None else between
    if limit is not None and first > limit - GRACE_SECONDS / 3600 and not is_whole(recipe, stage):
        raise InputError(
            f"{stage}: the first checkpoint comes after {first:,.1f} hours ({why}), and Slurm ends the job after "
            f"{limit:,.1f} (time {time}), so it would start again for ever. Set {stage}.training.save_minutes, "
            "such as 60, or give the job more time or devices"
        )
    return {"hours_between_checkpoints": between, WHY_CHECKPOINTS: why}


def _between(training: TrainingSettings, steps: int, step: float, together: int) -> tuple[float, str]:
    """The hours between two checkpoints where a step takes `step` hours, and what they come from."""
    count = steps
    if training.save_strategy == "steps":
        count = math.ceil(training.save_steps if training.save_steps >= 1 else training.save_steps * steps)
    elif training.save_strategy == "epoch" and training.max_steps < 0:
        count = math.ceil(steps / training.epochs)
    seconds, count = f"of {step * 3600:,.0f} s", min(count, steps)
    ways = [(count * step, f"{count:,} steps {seconds}")]
    if training.save_minutes is not None:
        said = f"{training.save_minutes:g} minutes and {'a step' if together == 1 else f'{together} steps'} {seconds}"
        ways.append((training.save_minutes / 60 + together * step, said))
    return min(ways)


def job_hours(time: str | int | None) -> float | None:
    """The hours of sbatch's MINUTES[:SECONDS], HOURS:MINUTES:SECONDS or DAYS-HOURS[:MINUTES[:SECONDS]]; None for no
    limit, and for what it does not take."""
    days, dash, rest = str(time).rpartition("-")
    parts = rest.split(":")
    if len(parts) > 3 or not all(part.isdecimal() for part in (*parts, days or "0")):
        return None
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    seconds = sum(int(part) * unit for part, unit in zip(parts, units, strict=False))
    return (int(days or 0) * 86400 + seconds) / 3600 or None
