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
from xcoder_train.grpo.rollouts import Sampler
from xcoder_train.grpo.settings import GrpoSettings
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
    own_reward, own_sampler = grpo.JudgedReward, grpo.sampler

    class TimedReward(own_reward):  # type: ignore[misc, valid-type]
        async def worth_of(self, problem_ids: list[str], completion_ids: Any, step: Any, texts: Any = ()) -> Any:
            if replaced is not None:
                texts, self.text_of = [completion[0]["content"] for completion in replaced(problem_ids)], None
            with _clock(spent, "judging"):
                return await super().worth_of(problem_ids, completion_ids, step, texts)

    def timed_sampler(settings: GrpoSettings) -> Sampler:
        sample = own_sampler(settings)

        def timed(*given: Any) -> Any:
            with _clock(spent, "generation"):
                return sample(*given)

        return timed

    grpo.JudgedReward, grpo.sampler = TimedReward, timed_sampler  # type: ignore[misc]
    before, wall, cpu = _children(), time.perf_counter(), time.process_time()
    try:
        with _method_clock(spent, "steps", "train"):
            perform(recipe, context)
    finally:
        grpo.JudgedReward, grpo.sampler = own_reward, own_sampler  # type: ignore[misc]
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
    """Time of a method of the trainer: `train` is without loading and saving."""
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
