"""Fit the defaults of a recipe to its model's context and to its other settings, once, when it is read.

Only settings that the recipe leaves out are changed, and only where the usual default would not work. A value that the
recipe gives stays, and is refused where it cannot work.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from synth.language_model.config import LocalTeacherSettings, TeacherSampling
from xcoder_core.errors import InputError
from xcoder_core.models.folder import KNOWN
from xcoder_train.recipe.schema import Recipe
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import TRAINING

_Section = TypeVar("_Section", bound=BaseModel)


def fitted(recipe: Recipe) -> Recipe:
    """The recipe with every default that would not fit replaced by one that does."""
    context = model_context(recipe)
    chosen: dict[str, object] = {}
    grpo, evaluation = recipe.grpo, recipe.evaluation
    for stage, settings in recipe.trained.items():
        if isinstance(settings, SftSettings) and context is not None:
            chosen[f"{stage}.max_length"] = min(settings.max_length, context)
    if grpo is not None:
        if context is not None:
            chosen |= _rollout_lengths(recipe, context)
        share = grpo.prompts_per_step * grpo.rollouts / grpo.launch.processes
        sizes = (size for size in range(grpo.micro_batch, 1, -1) if share % size == 0)
        chosen["grpo.micro_batch"] = next(sizes, 1)
    if evaluation is not None:
        room = min(length for length in (context, evaluation.generation.max_model_len, 1 << 62) if length is not None)
        chosen["evaluation.sampling.max_new_tokens"] = min(evaluation.sampling.max_new_tokens, room - 1)
        chosen["evaluation.k"] = tuple(k for k in evaluation.k if k <= evaluation.samples)
        chosen["evaluation.models"] = tuple(m for m in evaluation.models if has_model(recipe, m)) or evaluation.models
    for path, room in teacher_room(recipe).items():
        chosen[path] = min(value_at(recipe, path), room - 1)
    for path, value in chosen.items():
        if value != value_at(recipe, path) and not _is_written(recipe, path):
            recipe = _with(recipe, path, value)
    return recipe


def model_context(recipe: Recipe) -> int | None:
    """The positions of the model that the recipe starts from; None for one that is not at hand."""
    if recipe.model.init is not None:
        return recipe.model.init.context
    if recipe.model.path is not None:
        return context_at(recipe.model.path)
    with suppress(InputError, OSError):  # `checks.py` reports what is wrong with it
        return None if recipe.inputs.sft is None else context_at(recipe.input_folder("sft") / "model")
    return None


def context_at(path: Path | str) -> int | None:
    """The positions that the model in a folder was made for; None where its config.json does not tell."""
    if str(path) in KNOWN:
        return KNOWN[str(path)].context
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        found = config.get("text_config", config).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) and found > 1 else None


def teacher_room(recipe: Recipe) -> Mapping[str, int]:
    """Each length that a teacher of this machine is asked for, with the positions that it has."""
    teacher = None if recipe.synth is None else recipe.synth.teacher
    if not isinstance(teacher, LocalTeacherSettings):
        return {}
    lengths = [length for length in (context_at(teacher.model), teacher.generation.max_model_len) if length is not None]
    sampled = [f"teacher.sampling.{purpose}" for purpose in TeacherSampling.model_fields]
    return {f"synth.{path}.max_new_tokens": min(lengths) for path in (*sampled, "features.sampling") if lengths}


def has_model(recipe: Recipe, label: str) -> bool:
    """Whether there is a model of this label that can be measured; `base` is the one before training."""
    return recipe.has_result(TRAINING[label].name) if label in TRAINING else has_base(recipe)


def has_base(recipe: Recipe) -> bool:
    """Whether there is a model before training that can be measured."""
    return recipe.model.path is not None or (recipe.model.init is not None and recipe.has_result("sft"))


def _rollout_lengths(recipe: Recipe, context: int) -> dict[str, int]:
    """Half of the context for a prompt at most, and the rest of it for the completion."""
    grpo = recipe.grpo
    assert grpo is not None
    room = min(context, grpo.training.vllm_max_model_length or context)
    completion = grpo.max_completion_length
    left = room - completion if _is_written(recipe, "grpo.max_completion_length") else room // 2
    prompt = grpo.max_prompt_length
    if not _is_written(recipe, "grpo.max_prompt_length"):
        prompt = min(prompt, max(1, left))
    return {
        "grpo.max_prompt_length": prompt,
        "grpo.max_completion_length": min(completion, max(1, room - prompt)),
    }


def value_at(section: BaseModel, path: str) -> Any:
    """The setting at a dotted path."""
    for name in path.split("."):
        section = getattr(section, name)
    return section


def _is_written(section: BaseModel, path: str) -> bool:
    """Whether the recipe gives this value itself."""
    for name in path.split("."):
        if name not in section.model_fields_set:
            return False
        section = getattr(section, name)
    return True


def _with(section: _Section, path: str, value: object) -> _Section:
    name, _, below = path.partition(".")
    return section.model_copy(update={name: _with(getattr(section, name), below, value) if below else value})
