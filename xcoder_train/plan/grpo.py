"""The plan of GRPO: its steps, rollouts, hours, memory and disk, and what judging the rollouts takes."""

import math
from dataclasses import asdict

from synth.language_model.config import ExpectedSettings
from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import require
from xcoder_train.grpo.memory import GIB, estimate_grpo, fitting_engine, rollouts_at_once
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.synth import finished_rows, has_finished_synthesis, planned_tasks
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN, Hours, checkpoints, warning, weights_and_disk
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.arithmetic import plan_grpo_batch

# Of a step, what the judge may take before it is worth more cores.
_JUDGE_SHARE = 0.05


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> dict[str, object]:
    """What GRPO would sample and train on, for how long, and what it takes. Raises InputError for too few problems, and
    for a device that is too small."""
    settings = require(recipe.grpo)
    prompts, together, uses = settings.prompts_per_step, settings.prompts_per_set, settings.steps_per_set
    batch = plan_grpo_batch(prompts, settings.rollouts, settings.launch.processes, settings.micro_batch)
    is_finished = has_finished_synthesis(recipe)
    problems = finished_rows(recipe, "rl") if is_finished else planned_tasks(recipe, "rl")
    if problems is not None:
        settings.refuse_too_few(problems, "tasks for rl")
    steps = settings.training.max_steps if settings.training.max_steps > 0 else None
    if steps is None and problems is not None:  # prompts that do not fill a step are left out of an epoch
        steps = math.ceil(settings.training.epochs * (problems // together * uses))
    per_step, per_set = prompts * settings.rollouts, together * settings.rollouts
    dynamic = settings.dynamic_sampling
    most = 1.0 if dynamic is None or settings.rollouts_from is not None else dynamic.rounds * dynamic.oversample
    sets = None if steps is None else range(0, steps, uses)  # the steps at which rollouts are made
    completions = None if sets is None else math.ceil(len(sets) * per_set * most)
    new_tokens = None if sets is None else math.ceil(sum(per_set * settings.length_limit(step) for step in sets) * most)
    # A share of the hardware's peak says nothing here, since generation is bound by memory.
    rate = settings.launch.hardware.tokens_per_second
    hours = None if new_tokens is None or rate is None else Hours.of(settings.launch, new_tokens, rate)
    memory = None if shape is None else estimate_grpo(shape, settings, on_gpu=on_gpu)
    rollouts = {} if new_tokens is None else {"rollouts": new_tokens * CHARACTERS_PER_TOKEN}
    return {
        "problems": problems,
        "problems_are": "counted" if is_finished and problems is not None else "at most",
        "prompts_per_step": prompts,
        "rollouts": settings.rollouts,
        "completions_per_step": per_step,
        "micro_batch": settings.micro_batch,
        "micro_batches_per_process": batch.accumulation,
        "processes": batch.processes,
        "longest_sequence": settings.max_prompt_length + settings.max_completion_length,
        "context": shape and shape.context,
        "steps": steps,
        "completions": completions,
        "new_tokens_at_most": new_tokens,
        "hours": hours and asdict(hours),
        **weights_and_disk(settings, shape, memory, rollouts),
        "judge": None if steps is None or completions is None else _judging(recipe, completions, steps, hours),
        "vllm": None if shape is None else _vllm(settings, shape),
        **checkpoints(recipe, "grpo", steps, hours, uses),
        **warning(settings),
    }


def _judging(recipe: Recipe, completions: int, steps: int, hours: Hours | None) -> dict[str, object] | None:
    """Executions, core-hours, and the cores that keep the judge's part of a step at `_JUDGE_SHARE`; None while unknown.

    Every rollout is taken to run on all of its tests.
    """
    synth = recipe.synth
    tests = require(recipe.grpo).reward.tests or (None if synth is None or synth.imports else synth.inputs_per_task)
    if tests is None:
        return None
    seconds = (ExpectedSettings() if synth is None else synth.expected).execution_cpu_seconds
    executions, core_seconds = completions * tests, completions / steps * tests * seconds
    step = None if hours is None else hours.wall_hours * 3600 / steps
    return {
        "tests": tests,
        "executions": executions,
        "core_hours": executions * seconds / 3600,
        "core_seconds_per_step": core_seconds,
        "seconds_per_step": step,
        "cores": None if step is None else math.ceil(core_seconds / (_JUDGE_SHARE * step)),
        "share_of_step": _JUDGE_SHARE,
    }


def _vllm(settings: GrpoSettings, shape: ModelShape) -> dict[str, object] | None:
    """Bytes of vLLM and the trainer while rollouts are sampled and while the policy is trained.

    None where they share no device, or the device's memory is not known. Raises InputError if they cannot fit.
    """
    gib = settings.launch.hardware.memory_gib
    if settings.generation != "vllm_colocate" or gib is None:
        return None
    memory = fitting_engine(shape, settings, int(gib * GIB))
    names = ("cache", "cache_tokens", "at_full_length", "sampling", "training")
    at_once = rollouts_at_once(settings, memory.cache_tokens, memory.asked)
    return {**asdict(memory), **{name: getattr(memory, name) for name in names}, "at_once": at_once}
