"""A small synthesis by the real pipeline, and recipes that train tiny models on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.pipeline import synthesise
from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe

SPLITS = {
    "solved": {"use": "sft", "tasks": 14, "depth": [1]},
    "unsolved": {"use": "rl", "tasks": 8, "depth": [1]},
    "held": {"use": "evaluation", "tasks": 4, "depth": [1]},
}
MODEL = {"hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 4, "kv_heads": 2, "vocabulary": 400}
SFT = {
    "batch": 8,
    "micro_batch": 4,
    "max_length": 512,
    "packing": False,
    "training": {"learning_rate": 1e-2, "max_steps": 6, "logging_steps": 1, "save_steps": 3, "adam_beta2": 0.98},
}
GRPO = {
    "prompts_per_step": 2,
    "rollouts": 4,
    "max_prompt_length": 256,
    "max_completion_length": 100,
    "micro_batch": 4,
    "reward": {"kind": "paper", "tests": 2, "truncated": -1.0},
    "training": {"learning_rate": 3e-4, "max_steps": 4, "logging_steps": 1, "save_steps": 2, "loss_type": "dr_grpo"},
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small are slower on several threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished synthesis. Read it, never write to it."""
    folder = tmp_path_factory.mktemp("synth")
    settings = SynthSettings.model_validate({"splits": SPLITS, "candidates_per_task": 4, "inputs_per_task": 5})
    context = StageContext("tiny", "synth", "synthkey", folder, 5, {})
    synthesise(settings, JudgeSettings(workers=2), "plain", context)
    return folder


@pytest.fixture(scope="session")
def by_heart(tmp_path_factory: pytest.TempPathFactory, synthesis: Path) -> Path:
    """An SFT result that knows two answers by heart, so that some rollouts hold code. Read it, never write to it."""
    from xcoder_train.runs.stage import perform

    folder = tmp_path_factory.mktemp("by_heart")
    values = _recipe(
        "sft",
        batch=4,
        data={"tasks": 2, "solutions_per_task": 1},
        optimizer={"name": "muon", "learning_rate_rest": 1e-2},
        training={"max_steps": 200, "save_strategy": "no"},
    )
    recipe = Recipe.model_validate(values)
    perform(recipe, StageContext("tiny", "sft", "sftkey", folder, recipe.seed, {"synth": synthesis}))
    return folder


def _recipe(stage: str, **changed: Any) -> dict[str, Any]:
    """The recipe of one stage; `changed` replaces keys of its section, and `training` is merged, None removes."""
    section = {"sft": SFT, "grpo": GRPO}[stage]
    merged = {**section["training"], **changed.pop("training", {})}
    training = {name: value for name, value in merged.items() if value is not None}
    top = {name: changed.pop(name) for name in ("model", "tracking", "seed") if name in changed}
    model = {"init": {**MODEL, "context": 512}}
    return {"name": "tiny", "seed": 5, "model": model, **top, stage: {**section, **changed, "training": training}}


@pytest.fixture(scope="session")
def finished_grpo(tmp_path_factory: pytest.TempPathFactory, by_heart: Path, synthesis: Path) -> Path:
    """An uninterrupted GRPO of four steps with checkpoints at 2 and 4. Read it, never write to it."""
    from xcoder_train.runs.stage import perform

    folder = tmp_path_factory.mktemp("grpo")
    recipe = Recipe.model_validate(_recipe("grpo"))
    inputs = {"synth": synthesis, "sft": by_heart}
    perform(recipe, StageContext("tiny", "grpo", "stagekey", folder, recipe.seed, inputs))
    return folder


@pytest.fixture(scope="session")
def recipe_values() -> Callable[..., dict[str, Any]]:
    """Makes the values of a recipe with one stage, as YAML would hold them."""
    return _recipe


@pytest.fixture
def stage(synthesis: Path) -> Callable[..., tuple[Recipe, StageContext]]:
    """Makes what a stage is handed: (stage, folder, further inputs, changed settings)."""

    def make(
        name: str, folder: Path, inputs: dict[str, Path] | None = None, **changed: Any
    ) -> tuple[Recipe, StageContext]:
        folder.mkdir(parents=True, exist_ok=True)
        recipe = Recipe.model_validate(_recipe(name, **changed))
        found = {"synth": synthesis, **(inputs or {})}
        return recipe, StageContext("tiny", name, "stagekey", folder, recipe.seed, found)

    return make


@pytest.fixture(scope="session")
def weights() -> Callable[[Path], dict[str, torch.Tensor]]:
    """The tensors of a model folder."""

    def load(folder: Path) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        return load_file(folder / "model.safetensors")

    return load
