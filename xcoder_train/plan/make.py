"""What a run would do: checks of everything that can be checked, and the arithmetic of every stage. No torch.

Each stage's figures come from a function beside this file, which the table of stages names; `page.txt.j2` shows them.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from xcoder_core.models.folder import FAMILIES, KNOWN, ModelShape, model_shape
from xcoder_core.templates import page
from xcoder_train.grpo.memory import WORKING
from xcoder_train.plan.training import WHY_CHECKPOINTS
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import RunFolder, stage_stands
from xcoder_train.runs.keys import stage_folder, stage_key
from xcoder_train.runs.launch import has_gpu, launch_settings, stage_command
from xcoder_train.stages import STAGES, TRAINING, StageName
from xcoder_train.training.launch_settings import HardwareSettings, LaunchSettings


@dataclass(frozen=True)
class Plan:
    """What a run would do and take. `figures` are JSON values; the page also says why checkpoints come as they do."""

    figures: dict[str, object]
    why_checkpoints: dict[StageName, object]

    @property
    def text(self) -> str:
        """The figures for a reader, in lines of at most 80 columns."""
        values = {
            **self.figures,
            "why_checkpoints": self.why_checkpoints,
            "vllm_working": WORKING,
            "known": KNOWN,
            "families": FAMILIES,
            "training_stages": [stage.name for stage in TRAINING.values()],
        }
        return page("xcoder_train.plan", values, {"bytes": _bytes, "count": _count}, label=16)


def make_plan(recipe_path: Path, overrides: Sequence[str]) -> Plan:
    """The plan. Raises InputError for whatever a run would refuse."""
    recipe = load_recipe(recipe_path, overrides)
    changes = RunFolder(recipe).settings_that_changed()
    shape = model_shape(recipe.model)
    arguments = [str(recipe_path), *overrides]
    stages = {stage: _stage(recipe, stage, arguments, shape) for stage in recipe.stages}
    why_checkpoints = {stage: figures.pop(WHY_CHECKPOINTS, None) for stage, figures in stages.items()}
    return Plan(
        {
            "recipe": str(recipe_path),
            "run": recipe.name,
            "folder": str(recipe.run_folder),
            "seed": recipe.seed,
            "tracking": recipe.tracking.wandb,
            "changed_since_last_start": changes,
            "model": _model(recipe, shape),
            "stages": stages,
            "resolved": recipe.model_dump(mode="json"),
        },
        why_checkpoints,
    )


def _model(recipe: Recipe, shape: ModelShape | None) -> dict[str, object]:
    init = recipe.model.init
    start = recipe.model.path if init is None else f"random {init.architecture}"
    figures = {"start": start, "prompt": recipe.model.prompt, "trust_remote_code": recipe.model.trust_remote_code}
    sizes = ("parameters", "context", "layers", "hidden_size", "vocabulary")
    return figures | {name: getattr(shape, name, None) for name in sizes}


def _stage(recipe: Recipe, stage: StageName, arguments: list[str], shape: ModelShape | None) -> dict[str, object]:
    launch = launch_settings(recipe, stage)
    on_gpu = has_gpu(launch) or _is_meant_for_gpus(recipe, stage, launch)
    if launch.nodes > 1:
        command = f"{shlex.join(['xcoder', 'slurm', *arguments])} | bash"
    else:
        command = shlex.join(["python", *stage_command(launch, stage, arguments, on_gpu)[1:]])
    planner = STAGES[stage].plan
    return {
        "key": stage_key(recipe, stage),
        "folder": str(stage_folder(recipe, stage)),
        "whole": stage_stands(recipe, stage),
        "command": command,
        **({} if planner is None else resolve_name(planner)(recipe, shape, on_gpu)),
    }


def _is_meant_for_gpus(recipe: Recipe, stage: StageName, launch: LaunchSettings) -> bool:
    """A login node has no GPU; such a recipe names an accelerate configuration, a device's speed, or vLLM."""
    says_how_fast = launch.hardware != HardwareSettings()
    uses_vllm = stage == "grpo" and recipe.grpo is not None and recipe.grpo.generation != "transformers"
    return launch.accelerate is not None or says_how_fast or uses_vllm


def _count(value: int) -> str:
    """A count with three digits and its unit, as 7.62 B."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return str(value)


def _bytes(value: int) -> str:
    """Bytes in KiB, MiB or GiB."""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1024:.1f} KiB"
