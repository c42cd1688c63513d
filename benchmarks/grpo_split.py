"""Where the time of a GRPO step goes: generation, judging, and the rest, which is training.

The stage itself runs (`xcoder_train.grpo.train`), with clocks around its methods and the reward.
Wall time is what a step waits; CPU time, with that of the judge's workers once they have ended, stands a busy machine.
"""

import resource
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from xcoder_core.stage import StageContext
from xcoder_train.grpo import train as grpo
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.stage import perform

Completions = list[list[dict[str, str]]]


def measure_steps(
    recipe: Recipe, context: StageContext, replaced: Callable[[list[str]], Completions] | None = None
) -> dict[str, Any]:
    """Train, and return seconds per step and the share of each part.

    `replaced` gives, for the problems of a batch, the completions that the judge sees in place of the policy's own.
    """
    spent = {"generation": 0.0, "judging": 0.0}
    own_reward = grpo.JudgedReward

    class TimedReward(own_reward):  # type: ignore[misc, valid-type]
        async def __call__(self, *, completions: Completions, problem_id: list[str], **named: Any) -> Any:
            with _clock(spent, "judging"):
                seen = completions if replaced is None else replaced(problem_id)
                return await super().__call__(completions=seen, problem_id=problem_id, **named)

    grpo.JudgedReward = TimedReward  # type: ignore[misc]
    before, wall, cpu = _children(), time.perf_counter(), time.process_time()
    try:
        with _method_clock(spent, "steps", "train"), _method_clock(spent, "generation", "_generate"):
            perform(recipe, context)
    finally:
        grpo.JudgedReward = own_reward  # type: ignore[misc]
    total = spent.pop("steps")
    steps = recipe.grpo.training.max_steps if recipe.grpo is not None else 0
    spent["training"] = total - sum(spent.values())
    return {
        "steps": steps,
        "seconds_per_step": total / steps,
        "share": {name: seconds / total for name, seconds in spent.items()},
        "cpu_seconds": {"this_process": time.process_time() - cpu, "judge": _children() - before},
        "wall_seconds_with_loading": time.perf_counter() - wall,
    }


@contextmanager
def _method_clock(spent: dict[str, float], part: str, method: str) -> Any:
    """Time of a method of the trainer: `train` is without loading and saving, `_generate` makes the rollouts."""
    own = getattr(grpo.FrugalGrpoTrainer, method)

    def timed(self: Any, *given: Any, **named: Any) -> Any:
        with _clock(spent, part):
            return own(self, *given, **named)

    setattr(grpo.FrugalGrpoTrainer, method, timed)
    try:
        yield
    finally:
        setattr(grpo.FrugalGrpoTrainer, method, own)


@contextmanager
def _clock(spent: dict[str, float], part: str) -> Any:
    started = time.perf_counter()
    try:
        yield
    finally:
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - started


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
