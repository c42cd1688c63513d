"""What a run would do: checks of everything that can be checked, and the arithmetic of every stage. No torch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synth.config import SynthSettings
from synth.estimate import estimate, questions_of
from synth.features.stage import needs_model
from synth.language_model.config import ExpectedSettings
from xcoder_core.errors import InputError
from xcoder_core.layout import SynthLayout
from xcoder_core.models.shape import ModelShape, model_shape
from xcoder_core.settings import require
from xcoder_core.stage import read_result
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.disk import CHARACTERS_PER_TOKEN, grpo_disk, sft_disk, synthesis_disk
from xcoder_train.plan.hours import grpo_hours, sft_hours
from xcoder_train.plan.memory import MemoryEstimate, estimate_grpo, estimate_sft
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import RunFolder, stage_stands
from xcoder_train.runs.keys import evaluation_targets, is_whole, stage_folder, stage_key
from xcoder_train.runs.launch import has_gpu, launch_settings, shown_command, stage_command
from xcoder_train.sft.settings import SftDataSettings, SftSettings
from xcoder_train.stages import StageName
from xcoder_train.training.arithmetic import plan_grpo_batch, plan_sft_batch
from xcoder_train.training.launch_settings import HardwareSettings, LaunchSettings, division, is_sharded

# Examples in one row in the paper's SFT data: 32,768 tokens over means of 659 for the task and 17,742 for the solution.
_PAPERS_EXAMPLES_PER_ROW = 1.8
# Of a GRPO step, what the judge may take before it is worth more cores.
_JUDGE_SHARE = 0.05


def make_plan(recipe_path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The plan as JSON values. Raises InputError for whatever a run would refuse."""
    recipe = load_recipe(recipe_path, overrides)
    changes = RunFolder(recipe).settings_that_changed()
    shape = model_shape(recipe.model)
    return {
        "recipe": str(recipe_path),
        "run": recipe.name,
        "folder": str(recipe.run_folder),
        "seed": recipe.seed,
        "tracking": recipe.tracking.wandb,
        "changed_since_last_start": changes,
        "model": _model(recipe, shape),
        "stages": {stage: _stage(recipe, stage, recipe_path, overrides, shape) for stage in recipe.stages},
        "resolved": recipe.model_dump(mode="json"),
    }


def _model(recipe: Recipe, shape: ModelShape | None) -> dict[str, Any]:
    init = recipe.model.init
    return {
        "start": recipe.model.path if init is None else f"random {init.architecture}",
        "prompt": recipe.model.prompt,
        "trust_remote_code": recipe.model.trust_remote_code,
        "parameters": None if shape is None else shape.parameters,
        "context": None if shape is None else shape.context,
        "layers": None if shape is None else shape.layers,
        "hidden_size": None if shape is None else shape.hidden_size,
        "vocabulary": None if shape is None else shape.vocabulary,
    }


def _stage(
    recipe: Recipe, stage: StageName, recipe_path: Path, overrides: Sequence[str], shape: ModelShape | None
) -> dict[str, Any]:
    launch = launch_settings(recipe, stage)
    gpus = has_gpu(launch) or _is_meant_for_gpus(recipe, stage, launch)
    arguments = [str(recipe_path), *overrides]
    if launch.nodes > 1:
        command = f"{shown_command(['xcoder', 'slurm', *arguments])} | bash"
    else:
        command = shown_command(["python", *stage_command(launch, stage, arguments, gpus)[1:]])
    planned: dict[str, Any] = {
        "key": stage_key(recipe, stage),
        "folder": str(stage_folder(recipe, stage)),
        "whole": stage_stands(recipe, stage),
        "command": command,
    }
    if stage == "synth" and recipe.synth is not None:
        planned |= _synth(recipe.synth, recipe.seed)
    if stage == "sft" and recipe.sft is not None:
        planned |= _sft(recipe.sft, _sft_examples(recipe), shape, gpus)
    if stage == "grpo" and recipe.grpo is not None:
        planned |= _grpo(recipe.grpo, _rl_problems(recipe), shape, gpus)
        planned["judge"] = _judge_of_rollouts(recipe, recipe.grpo, planned)
    if stage == "evaluation":
        planned |= _evaluation(recipe)
    warnings = list(_warnings(recipe, stage, launch))
    if warnings:
        planned["warning"] = ". ".join(warnings)
    return planned


def _warnings(recipe: Recipe, stage: StageName, launch: LaunchSettings) -> Iterator[str]:
    grpo = recipe.grpo
    section = recipe.sft if stage == "sft" else grpo if stage == "grpo" else None
    if section is not None and section.optimizer.name == "muon" and is_sharded(launch):
        yield (
            "Muon orthogonalises in bfloat16 (torch.optim.Muon), and over shards its products are summed in another "
            "order: weights come within about 1e-3 of an unsharded run's, not to float32's rounding"
        )
    if stage == "grpo" and grpo is not None and grpo.generation != "transformers" and (grpo.top_k or grpo.top_p < 1):
        yield (
            "vLLM's log-probabilities are those among the tokens that top_k and top_p leave, the policy's are not, so "
            "every importance ratio is at most 1 (mean 0.988 at top_k 5, top_p 0.8): top_k 0 and top_p 1 have no bias"
        )


def _is_meant_for_gpus(recipe: Recipe, stage: StageName, launch: LaunchSettings) -> bool:
    """A login node has no GPU; such a recipe names an accelerate configuration, a device's speed, or vLLM."""
    says_how_fast = launch.hardware != HardwareSettings()
    uses_vllm = stage == "grpo" and recipe.grpo is not None and recipe.grpo.generation != "transformers"
    return launch.accelerate is not None or says_how_fast or uses_vllm


def _synth(settings: SynthSettings, seed: int) -> dict[str, Any]:
    if settings.imports:
        return {"imports": {item.split: {"from": item.place, "rows_at_most": item.limit} for item in settings.imports}}
    tasks = {name: split.tasks for name, split in settings.splits.items()}
    programs = sum(tasks.values()) * settings.candidates_per_task
    estimated = estimate(settings, seed)
    return {
        "tasks": tasks,
        "questions": sum(tasks.values()) * sum(questions_of(settings).values()),
        "programs": programs,
        "executions": programs * settings.inputs_per_task,
        "estimate": {**asdict(estimated), "cost": estimated.cost},
        "judge_cores_for_a_day": math.ceil(estimated.judge_core_hours / 24),
        "disk": synthesis_disk(settings, estimated, sum(tasks.values())),
        "features_are_asked_for": bool(estimated.stages) and needs_model(settings.features),
    }


def _sft(
    settings: SftSettings, examples: tuple[int | None, bool], shape: ModelShape | None, on_gpu: bool
) -> dict[str, Any]:
    count, is_measured = examples
    steps = settings.training.max_steps if settings.training.max_steps > 0 else None
    if settings.tokens is not None:
        steps = None  # they follow from the length of the examples, which only their tokens tell
    elif steps is None and count is not None:
        steps = max(1, round(count * settings.training.epochs / settings.batch))
    rows = _rows_per_step(settings)
    tokens = None if steps is None else steps * rows * settings.max_length
    return {
        "examples": count,
        "examples_are": "counted" if is_measured else "at most",
        "examples_per_step": settings.batch,
        "rows_per_step": settings.batch if not settings.packing else None,
        "rows_per_step_at_the_papers_packing": rows if settings.packing else None,
        "papers_examples_per_row": _PAPERS_EXAMPLES_PER_ROW if settings.packing else None,
        "tokens_per_row": settings.max_length,
        "steps": steps,
        "trained_examples": None if steps is None else steps * settings.batch,
        "tokens": settings.tokens,
        "tokens_at_most": tokens,
        "hours": None if tokens is None else sft_hours(shape, settings, tokens),
        "trained_parameters": _trained(settings, shape),
        "memory": None if shape is None else _memory(estimate_sft(shape, settings, on_gpu=on_gpu)),
        "disk": sft_disk(shape, settings, count),
    }


def _grpo(
    settings: GrpoSettings, problems: tuple[int | None, bool], shape: ModelShape | None, on_gpu: bool
) -> dict[str, Any]:
    batch = plan_grpo_batch(
        settings.prompts_per_step, settings.rollouts, settings.launch.processes, settings.micro_batch
    )
    count, is_measured = problems
    steps = settings.training.max_steps if settings.training.max_steps > 0 else None
    if count is not None and count < settings.prompts_per_step:
        raise InputError(
            f"grpo.prompts_per_step = {settings.prompts_per_step}, but the synthesis has only {count} problems for it. "
            "Lower it, or synthesise more tasks."
        )
    uses = settings.training.num_iterations  # steps that each set of rollouts is trained on
    if steps is None and count is not None:  # prompts that do not fill a step are left out of an epoch
        steps = math.ceil(settings.training.epochs * (count // settings.prompts_per_step * uses))
    per_step = settings.prompts_per_step * settings.rollouts
    completions = None if steps is None else math.ceil(steps / uses) * per_step
    longest = settings.max_prompt_length + settings.max_completion_length
    new_tokens = None if completions is None else completions * settings.max_completion_length
    return {
        "problems": count,
        "problems_are": "counted" if is_measured else "at most",
        "prompts_per_step": settings.prompts_per_step,
        "rollouts": settings.rollouts,
        "completions_per_step": per_step,
        "micro_batch": settings.micro_batch,
        "micro_batches_per_process": batch.accumulation,
        "processes": batch.processes,
        "longest_sequence": longest,
        "context": None if shape is None else shape.context,
        "steps": steps,
        "completions": completions,
        "new_tokens_at_most": new_tokens,
        "hours": None if new_tokens is None else grpo_hours(settings, new_tokens),
        "trained_parameters": _trained(settings, shape),
        "memory": None if shape is None else _memory(estimate_grpo(shape, settings, on_gpu=on_gpu)),
        "disk": grpo_disk(shape, settings, new_tokens),
    }


def _judge_of_rollouts(recipe: Recipe, settings: GrpoSettings, planned: dict[str, Any]) -> dict[str, Any] | None:
    """Executions, core-hours, and the cores that keep the judge's part of a step at `_JUDGE_SHARE`; None while unknown.

    Every rollout is taken to run on all of its tests.
    """
    synth = recipe.synth
    tests = settings.reward.tests or (None if synth is None or synth.imports else synth.inputs_per_task)
    if tests is None or planned["completions"] is None:
        return None
    seconds = (ExpectedSettings() if synth is None else synth.expected).execution_cpu_seconds
    hours, per_step = planned["hours"], planned["completions"] / planned["steps"] * tests * seconds
    step = None if hours is None else hours["wall_hours"] * 3600 / planned["steps"]
    return {
        "tests": tests,
        "executions": planned["completions"] * tests,
        "core_hours": planned["completions"] * tests * seconds / 3600,
        "core_seconds_per_step": per_step,
        "seconds_per_step": step,
        "cores": None if step is None else math.ceil(per_step / (_JUDGE_SHARE * step)),
        "share_of_step": _JUDGE_SHARE,
    }


def _evaluation(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.evaluation
    if settings is None:
        return {}
    targets = evaluation_targets(recipe, recipe.run_folder)
    problems, _ = _problems(recipe, "evaluation") if "heldout" in settings.benchmarks else (None, False)
    to_do = sum(1 for target in targets if not target.is_whole)
    completions = None if problems is None else problems * settings.samples * to_do
    return {
        "benchmarks": list(settings.benchmarks),
        "models": {target.label: {"key": target.key, "whole": target.is_whole} for target in targets},
        "samples": settings.samples,
        "k": list(settings.k),
        "max_new_tokens": settings.sampling.max_new_tokens,
        "heldout_problems": problems,
        "completions": completions,
        "disk": (
            None if completions is None else completions * settings.sampling.max_new_tokens * CHARACTERS_PER_TOKEN
        ),
    }


def _rows_per_step(settings: SftSettings) -> int:
    """As the stage divides a batch, where examples are as long as the paper's."""
    if not settings.packing:
        return settings.batch
    processes = division(settings.launch).data_parallel(settings.launch)
    return plan_sft_batch(settings.batch, _PAPERS_EXAMPLES_PER_ROW, processes, settings.micro_batch).rows_per_step


def _sft_examples(recipe: Recipe) -> tuple[int | None, bool]:
    """Examples of the view that SFT trains on: counted once synthesis is whole, else the most that settings allow."""
    view = require(recipe.sft).data
    figures = _synth_figures(recipe)
    if figures is not None:
        rows = figures.get("dataset_rows", {}).get("sft")
        if not isinstance(rows, int):
            return None, False
        if rows and view == SftDataSettings():
            return rows, True
        from xcoder_train.sft.data import rows_of_view

        return len(rows_of_view(SynthLayout(stage_folder(recipe, "synth")), view, recipe.seed)), True
    tasks, _ = _problems(recipe, "sft")
    if tasks is None or recipe.synth is None:
        return None, False
    candidates = recipe.synth.candidates_per_task
    accepted = recipe.synth.solutions_per_task if view.verified else None
    per_task = min(candidates, accepted or candidates, view.solutions_per_task or candidates)
    return min(tasks, view.tasks or tasks) * per_task, False


def _rl_problems(recipe: Recipe) -> tuple[int | None, bool]:
    figures = _synth_figures(recipe)
    if figures is not None:
        rows = figures.get("dataset_rows", {}).get("rl")
        return (rows, True) if isinstance(rows, int) else (None, False)
    return _problems(recipe, "rl")


def _problems(recipe: Recipe, use: str) -> tuple[int | None, bool]:
    """Tasks of the splits with this use, before any is dropped."""
    if recipe.synth is None or recipe.synth.imports:
        return None, False
    return sum(split.tasks for split in recipe.synth.splits.values() if split.use == use), False


def _synth_figures(recipe: Recipe) -> dict[str, Any] | None:
    if not recipe.has_result("synth"):
        return None
    if recipe.synth is not None and not is_whole(recipe, "synth"):
        return None
    return read_result(stage_folder(recipe, "synth"))


def _trained(settings: SftSettings | GrpoSettings, shape: ModelShape | None) -> int | None:
    if shape is None:
        return None
    return shape.parameters if settings.lora is None else settings.lora.parameters(shape)


def _memory(estimate: MemoryEstimate) -> dict[str, int]:
    return {**asdict(estimate), "total": estimate.total}
