"""The plan of GRPO: its steps, rollouts, hours, memory and disk, and what judging the rollouts takes."""

import math
from dataclasses import asdict

from synth.language_model.config import ExpectedSettings
from xcoder_core.errors import InputError
from xcoder_core.models.folder import ModelShape
from xcoder_core.settings import require
from xcoder_train.grpo.memory import estimate_grpo
from xcoder_train.plan.checkpoints import checkpoint_part
from xcoder_train.plan.part import Part, row, shown_core_time, shown_count
from xcoder_train.plan.synth import finished_rows, has_finished_synthesis, planned_tasks
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN, Hours, training_part
from xcoder_train.plan.vllm import colocated_part
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.arithmetic import plan_grpo_batch

# Of a step, what the judge may take before it is worth more cores.
_JUDGE_SHARE = 0.05


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> Part:
    """What GRPO would sample and train on, for how long, and what it takes. Raises InputError for too few problems, and
    for a device that is too small."""
    settings = require(recipe.grpo)
    prompts, together, uses = settings.prompts_per_step, settings.prompts_per_set, settings.steps_per_set
    batch = plan_grpo_batch(prompts, settings.rollouts, settings.launch.processes, settings.micro_batch)
    is_finished = has_finished_synthesis(recipe)
    problems = finished_rows(recipe, "rl") if is_finished else planned_tasks(recipe, "rl")
    said = "counted" if is_finished and problems is not None else "at most"
    if problems is not None and problems < together:
        raise InputError(
            f"grpo needs {together} prompts at once, but the synthesis has only {problems} problems for it. "
            "Lower grpo.prompts_per_step, or synthesise more tasks."
        )
    steps = settings.training.max_steps if settings.training.max_steps > 0 else None
    if steps is None and problems is not None:  # prompts that do not fill a step are left out of an epoch
        steps = math.ceil(settings.training.epochs * (problems // together * uses))
    per_step, per_set = prompts * settings.rollouts, together * settings.rollouts
    dynamic = settings.dynamic_sampling
    most = 1.0 if dynamic is None or settings.rollouts_from is not None else dynamic.rounds * dynamic.oversample
    sets = None if steps is None else range(0, steps, uses)  # the steps at which rollouts are made
    completions = None if sets is None else math.ceil(len(sets) * per_set * most)
    new_tokens = None if sets is None else math.ceil(sum(per_set * settings.length_limit(step) for step in sets) * most)
    longest, context = settings.max_prompt_length + settings.max_completion_length, shape and shape.context
    # A share of the hardware's peak says nothing here, since generation is bound by memory.
    rate = settings.launch.hardware.tokens_per_second
    hours = None if new_tokens is None or rate is None else Hours.of(settings.launch, new_tokens, rate)
    memory = None if shape is None else estimate_grpo(shape, settings, on_gpu=on_gpu)
    rollouts = {} if new_tokens is None else {"rollouts": new_tokens * CHARACTERS_PER_TOKEN}
    training = training_part(settings, shape, memory, rollouts)
    vllm = colocated_part(settings, shape)
    lines = [] if problems is None else row("problems", f"{problems:,} ({said})")
    lines += row(
        "step",
        f"{prompts:,} prompts x {settings.rollouts} rollouts = {per_step:,} completions = {batch.accumulation:,} "
        f"micro-batches of {settings.micro_batch:,} x {batch.processes} processes",
    )
    if settings.updates_per_rollouts > 1:
        lines += row("", f"{per_set:,} completions are sampled at once, for {settings.updates_per_rollouts} steps")
    lines += row("sequence", f"{longest:,} tokens at most" + (f" of the context's {context:,}" if context else ""))
    lines += row("lengths", ", ".join(f"{tokens:,} from step {step:,} on" for step, tokens in settings.lengths))
    judging = Part({"judge": None}, [])
    if steps is not None and completions is not None and new_tokens is not None:
        total = f"{completions:,} completions, at most {shown_count(new_tokens)} new tokens"
        lines += row("steps", f"{steps:,}: {total}" if most == 1 else f"{steps:,}: at most {total}")
        judging = _judging(recipe, completions, steps, hours)
    figures: dict[str, object] = {
        "problems": problems,
        "problems_are": said,
        "prompts_per_step": prompts,
        "rollouts": settings.rollouts,
        "completions_per_step": per_step,
        "micro_batch": settings.micro_batch,
        "micro_batches_per_process": batch.accumulation,
        "processes": batch.processes,
        "longest_sequence": longest,
        "context": context,
        "steps": steps,
        "completions": completions,
        "new_tokens_at_most": new_tokens,
        "hours": hours and asdict(hours),
    }
    checkpoints = checkpoint_part(recipe, "grpo", steps, hours, uses)
    lines += (hours.lines() if hours else []) + judging.lines + training.lines + vllm.lines + checkpoints.lines
    figures |= training.figures | judging.figures | vllm.figures | checkpoints.figures
    return Part(figures, lines, training.warnings)


def _judging(recipe: Recipe, completions: int, steps: int, hours: Hours | None) -> Part:
    """Executions, core-hours, and the cores that keep the judge's part of a step at `_JUDGE_SHARE`; None while unknown.

    Every rollout is taken to run on all of its tests.
    """
    synth = recipe.synth
    tests = require(recipe.grpo).reward.tests or (None if synth is None or synth.imports else synth.inputs_per_task)
    if tests is None:
        return Part({"judge": None}, [])
    seconds = (ExpectedSettings() if synth is None else synth.expected).execution_cpu_seconds
    executions, core_seconds = completions * tests, completions / steps * tests * seconds
    core_hours = executions * seconds / 3600
    step, cores = None, None
    shown = f"{core_seconds:,.0f} core-seconds a step"
    if hours is not None:
        step = hours.wall_hours * 3600 / steps
        cores = math.ceil(core_seconds / (_JUDGE_SHARE * step))
        shown += f" of {step:,.0f} s; {cores:,} cores or more keep it to {_JUDGE_SHARE:.0%} of the time"
    judge = {
        "tests": tests,
        "executions": executions,
        "core_hours": core_hours,
        "core_seconds_per_step": core_seconds,
        "seconds_per_step": step,
        "cores": cores,
        "share_of_step": _JUDGE_SHARE,
    }
    runs = f"{executions:,} runs, {tests} for each completion"
    return Part({"judge": judge}, row("judge", f"{shown_core_time(core_hours)}: {runs}; {shown}"))
