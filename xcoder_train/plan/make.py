"""What a run would do: checks of everything that can be checked, and the arithmetic of every stage. No torch.

Each stage's part is `plan` in a file of its own, which the table of stages names.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

from xcoder_core.models.folder import FAMILIES, KNOWN, ModelShape, model_shape
from xcoder_train.plan.part import Part, row, shown_count
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import RunFolder, stage_stands
from xcoder_train.runs.keys import stage_folder, stage_key
from xcoder_train.runs.launch import has_gpu, launch_settings, stage_command
from xcoder_train.stages import STAGES, StageName
from xcoder_train.training.launch_settings import HardwareSettings, LaunchSettings


def make_plan(recipe_path: Path, overrides: Sequence[str]) -> Part:
    """The plan. Raises InputError for whatever a run would refuse."""
    recipe = load_recipe(recipe_path, overrides)
    changes = RunFolder(recipe).settings_that_changed()
    shape = model_shape(recipe.model)
    model = _model(recipe, shape)
    arguments = [str(recipe_path), *overrides]
    stages = {stage: _stage(recipe, stage, arguments, shape) for stage in recipe.stages}
    tracking = recipe.tracking.wandb
    lines = row("run", f"{recipe.name} in {recipe.run_folder}, seed {recipe.seed}, W&B {tracking}") + model.lines
    for change in changes:
        lines += row("changed", change)
    for stage in stages.values():
        lines += ["", *stage.lines]
    figures: dict[str, object] = {
        "recipe": str(recipe_path),
        "run": recipe.name,
        "folder": str(recipe.run_folder),
        "seed": recipe.seed,
        "tracking": tracking,
        "changed_since_last_start": changes,
        "model": model.figures,
        "stages": {name: stage.figures for name, stage in stages.items()},
        "resolved": recipe.model_dump(mode="json"),
    }
    return Part(figures, lines)


def _model(recipe: Recipe, shape: ModelShape | None) -> Part:
    init, prompt = recipe.model.init, recipe.model.prompt
    start = recipe.model.path if init is None else f"random {init.architecture}"
    lines = []
    if start is not None and shape is not None:
        size = f"{shown_count(shape.parameters)} parameters, context {shape.context:,}"
        lines = row("model", f"{start}: {size}, {prompt} prompt")
    elif start is not None:
        known = f"{', '.join(KNOWN)}, and folders of {', '.join(FAMILIES)} models"
        lines = row("model", f"{start}: size unknown here, {prompt} prompt")
        lines += row("", f"so no memory, disk or hours below; known without a download are {known}")
    if start is not None and recipe.model.trust_remote_code:
        lines += row("", "code that comes with the model will run, with all rights of this user")
    sizes = ("parameters", "context", "layers", "hidden_size", "vocabulary")
    figures = {"start": start, "prompt": prompt, "trust_remote_code": recipe.model.trust_remote_code}
    return Part(figures | {name: getattr(shape, name, None) for name in sizes}, lines)


def _stage(recipe: Recipe, stage: StageName, arguments: list[str], shape: ModelShape | None) -> Part:
    launch = launch_settings(recipe, stage)
    on_gpu = has_gpu(launch) or _is_meant_for_gpus(recipe, stage, launch)
    if launch.nodes > 1:
        command = f"{shlex.join(['xcoder', 'slurm', *arguments])} | bash"
    else:
        command = shlex.join(["python", *stage_command(launch, stage, arguments, on_gpu)[1:]])
    key, is_whole = stage_key(recipe, stage), stage_stands(recipe, stage)
    planner = STAGES[stage].plan
    part = Part({}, []) if planner is None else resolve_name(planner)(recipe, shape, on_gpu)
    figures = {"key": key, "folder": str(stage_folder(recipe, stage)), "whole": is_whole, "command": command}
    lines = [f"{stage}  {key}  {'whole already, kept' if is_whole else 'to do'}", *part.lines]
    warning = ". ".join(part.warnings)
    if warning:
        lines += row("warning", warning)
    if not is_whole:
        lines += row("command", command)
    return Part(figures | part.figures | ({"warning": warning} if warning else {}), lines)


def _is_meant_for_gpus(recipe: Recipe, stage: StageName, launch: LaunchSettings) -> bool:
    """A login node has no GPU; such a recipe names an accelerate configuration, a device's speed, or vLLM."""
    says_how_fast = launch.hardware != HardwareSettings()
    uses_vllm = stage == "grpo" and recipe.grpo is not None and recipe.grpo.generation != "transformers"
    return launch.accelerate is not None or says_how_fast or uses_vllm
