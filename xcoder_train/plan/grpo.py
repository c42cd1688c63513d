"""The plan of GRPO: its steps, rollouts, hours, memory and disk, and what judging the rollouts takes."""

import math
from dataclasses import asdict, replace

from synth.language_model.config import ExpectedSettings
from xcoder_core.errors import InputError
from xcoder_core.models.shape import ModelShape
from xcoder_core.settings import require
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.memory import MemoryEstimate, estimate
from xcoder_train.plan.part import Part, row, shown_core_time, shown_count
from xcoder_train.plan.synth import finished_rows, has_finished_synthesis, planned_tasks
from xcoder_train.plan.training import CHARACTERS_PER_TOKEN, Hours, training_part
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.arithmetic import plan_grpo_batch

# Of a step, what the judge may take before it is worth more cores.
_JUDGE_SHARE = 0.05


def plan(recipe: Recipe, shape: ModelShape | None, on_gpu: bool) -> Part:
    """What GRPO would sample and train on, for how long, and what it takes. Raises InputError for too few problems."""
    settings = require(recipe.grpo)
    prompts, uses = settings.prompts_per_step, settings.training.num_iterations
    batch = plan_grpo_batch(prompts, settings.rollouts, settings.launch.processes, settings.micro_batch)
    is_finished = has_finished_synthesis(recipe)
    problems = finished_rows(recipe, "rl") if is_finished else planned_tasks(recipe, "rl")
    said = "counted" if is_finished and problems is not None else "at most"
    if problems is not None and problems < prompts:
        raise InputError(
            f"grpo.prompts_per_step = {prompts}, but the synthesis has only {problems} problems for it. "
            "Lower it, or synthesise more tasks."
        )
    steps = settings.training.max_steps if settings.training.max_steps > 0 else None
    if steps is None and problems is not None:  # prompts that do not fill a step are left out of an epoch
        steps = math.ceil(settings.training.epochs * (problems // prompts * uses))
    per_step = prompts * settings.rollouts
    dynamic = settings.dynamic_sampling
    most = 1.0 if dynamic is None or settings.rollouts_from is not None else dynamic.rounds * dynamic.oversample
    # each is trained on in `uses` steps
    completions = None if steps is None else math.ceil(math.ceil(steps / uses) * per_step * most)
    new_tokens = None if completions is None else completions * settings.max_completion_length
    longest, context = settings.max_prompt_length + settings.max_completion_length, shape and shape.context
    # A share of the hardware's peak says nothing here, since generation is bound by memory.
    rate = settings.launch.hardware.tokens_per_second
    hours = None if new_tokens is None or rate is None else Hours.of(settings.launch, new_tokens, rate)
    memory = None if shape is None else estimate_grpo(shape, settings, on_gpu=on_gpu)
    rollouts = {} if new_tokens is None else {"rollouts": new_tokens * CHARACTERS_PER_TOKEN}
    training = training_part(settings, shape, memory, rollouts)
    lines = [] if problems is None else row("problems", f"{problems:,} ({said})")
    lines += row(
        "step",
        f"{prompts:,} prompts x {settings.rollouts} rollouts = {per_step:,} completions = {batch.accumulation:,} "
        f"micro-batches of {settings.micro_batch:,} x {batch.processes} processes",
    )
    lines += row("sequence", f"{longest:,} tokens at most" + (f" of the context's {context:,}" if context else ""))
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
    lines += (hours.lines() if hours else []) + judging.lines + training.lines
    return Part(figures | training.figures | judging.figures, lines, training.warnings + _cut_distribution(settings))


def estimate_grpo(shape: ModelShape, settings: GrpoSettings, *, on_gpu: bool) -> MemoryEstimate:
    """Memory of GRPO; vLLM's share of the device (`vllm_gpu_memory_utilization`) is not in it.

    With a KL term (`training.beta`) a second model stands beside the policy, unless adapters can be switched off.
    """
    longest = settings.max_prompt_length + settings.max_completion_length
    cached = _rows_decoded_together(settings) * longest
    policy = estimate(shape, settings, settings.micro_batch * longest, cached, on_gpu=on_gpu, is_quantized=False)
    has_reference = settings.training.beta != 0 and settings.lora is None
    return replace(policy, weights=2 * policy.weights) if has_reference else policy


def _rows_decoded_together(settings: GrpoSettings) -> int:
    """The most rows of which one process keeps keys and values: of a step, of held-out tasks, of pass rates."""
    if settings.curriculum is not None and settings.curriculum.pass_rates is None:
        return settings.rollout_batch
    if settings.generation != "transformers":
        return 0
    held_out = settings.evaluation
    tasks = 0 if held_out is None else held_out.tasks * held_out.samples
    rows = math.ceil(max(settings.prompts_per_step * settings.rollouts, tasks) / settings.launch.processes)
    return min(settings.rollout_batch, rows)


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


def _cut_distribution(settings: GrpoSettings) -> list[str]:
    if settings.generation == "transformers" or not (settings.top_k or settings.top_p < 1):
        return []
    return [
        "vLLM's log-probabilities are those among the tokens that top_k and top_p leave, the policy's are not, so "
        "every importance ratio is at most 1 (mean 0.988 at top_k 5, top_p 0.8): top_k 0 and top_p 1 have no bias"
    ]
