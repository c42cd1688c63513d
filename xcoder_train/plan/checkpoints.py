"""How long a training goes without a checkpoint, held against the time that a Slurm job of it has. No torch."""

import math

from xcoder_core.errors import InputError
from xcoder_train.plan.training import Hours
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import is_whole
from xcoder_train.stages import StageName
from xcoder_train.training.settings import TrainingSettings

GRACE_SECONDS = 120
"""Seconds before a job's time is up at which its stage is asked to end; more than a stage may take for it."""
WHY_CHECKPOINTS = "why_checkpoints"
"""The key of what only the page of a plan says, not its figures."""


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
