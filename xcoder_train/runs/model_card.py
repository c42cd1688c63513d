"""The README.md of a trained model: what it started from, on which data, with which recipe, and what it reached."""

import io
import re
from pathlib import Path

from ruamel.yaml import YAML

from xcoder_core.files import JsonObject
from xcoder_core.settings import require
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key
from xcoder_train.stages import STAGES, StageName

CARD = "README.md"

_SHOWN = (
    "examples",
    "tokens",
    "supervised_tokens",
    "truncated",
    "prompts",
    "rollouts",
    "excluded_rollouts",
    "steps",
    "trained_tokens",
    "final_loss",
    "tokens_per_second",
    "mfu",
    "peak_memory_gib",
    "parameters",
    "saved_dtype",
    "update_lost",
    "update_lost_in_16_bits",
    "training_seconds",
)


def model_card(recipe: Recipe, stage: StageName, figures: JsonObject, summary: JsonObject) -> str:
    """The card of a stage's model. `figures` are what the stage left; `summary` is the run's, {} before evaluation."""
    section = getattr(recipe, stage).model_dump(mode="json", exclude_defaults=True)
    parts = [
        f"---\n{_metadata(recipe, stage)}\n---",
        f"# {recipe.name}: {stage}",
        f"Trained on synthetic programming tasks by the stage `{stage}` of xcoder-train's run `{recipe.name}` (key "
        f"`{figures['key']}`).",
        _section(
            "Model",
            {
                "start": _start(recipe, stage),
                "base model": recipe.model.path,
                "prompt style": recipe.model.prompt,
                "run seed": recipe.seed,
                "data (key of the synthesis)": figures.get("data") or stage_key(recipe, "synth"),
                "data (sha256 of what was trained on)": figures.get("fingerprint"),
            },
        ),
        _section("Training", {name: figures.get(name) for name in _SHOWN}),
        _results(summary, require(STAGES[stage].trains)),
        f"## Recipe of the stage\n\n```yaml\n{_yaml({stage: section})}```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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


def _section(title: str, facts: dict[str, object]) -> str:
    rows = "\n".join(f"| {key.replace('_', ' ')} | {_shown(fact)} |" for key, fact in facts.items() if fact is not None)
    return f"## {title}\n\n| | |\n|---|---|\n{rows}"


def _results(summary: JsonObject, label: str) -> str:
    """pass@1 of the models that the run measured, this one's among them."""
    measured = summary.get("pass_at_1") or {}
    if label not in measured:
        return "## Results\n\nNot measured in this run."
    rows = "\n".join(
        f"| {name} | {100 * values['mean']:.1f} % | {100 * values['ci95'][0]:.1f} to {100 * values['ci95'][1]:.1f} | "
        f"{values['problems']} x {values['samples']} |"
        for name, values in measured.items()
    )
    return (
        f"## Results\n\npass@1; this model is `{label}`.\n\n"
        f"| model | pass@1 | 95 % interval | problems x samples |\n|---|---|---|---|\n{rows}"
    )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"`{value}`"
