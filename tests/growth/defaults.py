"""The defaults that a stage's result rests on, by path. `python -m tests.growth.defaults` prints them.

Keys say only what differs from the defaults, so a changed default must raise the stage's version, or a result that was
made with the old one would be taken for one of the new.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic_core import to_jsonable_python

from synth.config import SynthSettings
from xcoder_core.models.settings import ModelSettings
from xcoder_core.settings import Settings, differences_from_defaults
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.settings import EvaluationStageSettings
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import STAGES

FILE = Path(__file__).with_name("defaults.json")
SECTIONS: dict[str, dict[str, type[Settings]]] = {
    "synth": {"synth": SynthSettings},
    "sft": {"sft": SftSettings, "model": ModelSettings},
    "grpo": {"grpo": GrpoSettings, "model": ModelSettings},
    "evaluation": {"evaluation": EvaluationStageSettings, "model": ModelSettings},
}


def current() -> dict[str, Any]:
    """Each stage's version and defaults, as this code has them."""
    table = {}
    for stage, sections in SECTIONS.items():
        ignored = tuple(f"{stage}.{path}" for path in STAGES[stage].does_not_affect_result)  # type: ignore[index]
        defaults = {
            path: value
            for name, settings in sections.items()
            for path, value in _defaults(settings, name)
            if not any(path == other or path.startswith((f"{other}.", f"{other}(")) for other in ignored)
        }
        table[stage] = {"version": STAGES[stage].version, "defaults": defaults}  # type: ignore[index]
    return table


def mistakes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Defaults that changed while the stage's version did not, and versions whose defaults were not written down."""
    found = []
    for stage, before in recorded.items():
        if before["version"] != now[stage]["version"]:
            found.append(f"{stage}: version {now[stage]['version']}; run python -m tests.growth.defaults > {FILE}")
            continue
        found += [
            f"{path}: {before['defaults'][path]!r} -> {value!r}; raise the version of {stage} in xcoder_train/stages.py"
            for path, value in now[stage]["defaults"].items()
            if path in before["defaults"] and before["defaults"][path] != value
        ]
    return found


def _defaults(settings: type[Settings], path: str) -> Iterator[tuple[str, Any]]:
    for name, field in settings.model_fields.items():
        here = f"{path}.{name}"
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            is_section = isinstance(default, Settings)
            yield here, differences_from_defaults(default) if is_section else to_jsonable_python(default)
        for inner in _settings_in(field.annotation):
            yield from _defaults(inner, here if is_alone(field.annotation) else f"{here}({inner.__name__})")


def is_alone(annotation: Any) -> bool:
    """True for a section that can be of one class only."""
    return len(list(_settings_in(annotation))) == 1


def _settings_in(annotation: Any) -> Iterator[type[Settings]]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, Settings):
            yield annotation
        return
    for inner in get_args(annotation):
        yield from _settings_in(inner)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser("python -m tests.growth.defaults", None, __doc__).parse_args()
    print(json.dumps(current(), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
