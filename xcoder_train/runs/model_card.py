"""The README.md of a trained model: what it started from, on which data, with which recipe, and what it reached."""

import io
import re
from pathlib import Path

from ruamel.yaml import YAML

from xcoder_core.files import JsonObject
from xcoder_core.templates import filled
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key
from xcoder_train.stages import STAGES, StageName

CARD = "README.md"

_SHOWN = """
    examples tokens supervised_tokens truncated prompts rollouts excluded_rollouts steps trained_tokens
    final_loss tokens_per_second mfu peak_memory_gib parameters saved_dtype update_lost update_lost_in_16_bits
    training_seconds
""".split()


def model_card(recipe: Recipe, stage: StageName, figures: JsonObject, summary: JsonObject) -> str:
    """The card of a stage's model. `figures` are what the stage left; `summary` is the run's, {} before evaluation."""
    section = getattr(recipe, stage).model_dump(mode="json", exclude_defaults=True)
    values = {
        "recipe": recipe,
        "stage": stage,
        "key": figures["key"],
        "metadata": _metadata(recipe, stage),
        "model": {
            "start": _start(recipe, stage),
            "base model": recipe.model.path,
            "prompt style": recipe.model.prompt,
            "run seed": recipe.seed,
            "data (key of the synthesis)": figures.get("data") or stage_key(recipe, "synth"),
            "data (sha256 of what was trained on)": figures.get("fingerprint"),
        },
        "training": {name: figures.get(name) for name in _SHOWN},
        "measured": summary.get("pass_at_1") or {},
        "label": STAGES[stage].trains,
        "section": _yaml({stage: section}),
    }
    return filled("xcoder_train.runs", "card.md.j2", values, {"shown": _shown})


def _start(recipe: Recipe, stage: StageName) -> str:
    start = recipe.start_of(stage)
    if start is not None:
        return f"the result of {start}, {stage_key(recipe, start)}"
    return recipe.model.path if recipe.model.init is None else "random weights"  # type: ignore[return-value]


def _yaml(values: dict[str, object]) -> str:
    text = io.StringIO()
    YAML().dump(values, text)
    return text.getvalue()


def _metadata(recipe: Recipe, stage: StageName) -> str:
    from huggingface_hub import ModelCardData

    path = recipe.model.path
    data = ModelCardData(
        base_model=path if path is not None and not Path(path).exists() else None,
        license=path and _licence(path),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["code", "xcoder-train", stage],
    )
    return data.to_yaml()


def _licence(base: str) -> str | None:
    """The licence that the base model's own card names; None where no card is on this machine, or names none."""
    from huggingface_hub import try_to_load_from_cache

    card = Path(base) / CARD if Path(base).exists() else try_to_load_from_cache(base, CARD)
    text = Path(card).read_text("utf-8", "replace") if isinstance(card, str | Path) and Path(card).is_file() else ""
    named = re.match(r"---\n(?:(?!---).*\n)*?license: *[\"']?([\w.-]+)", text)
    return named and named[1]


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"`{value}`"
