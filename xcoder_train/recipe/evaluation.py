"""The recipe of an evaluation that was asked for without one: `xcoder eval --model M --benchmark B`."""

import re
from collections.abc import Sequence
from typing import Any

from xcoder_core.secrets import hide_given
from xcoder_core.yaml_source import Located, Place


def evaluation_recipe(model: str, benchmarks: Sequence[str], server: str | None) -> dict[str, Any]:
    """The sections of a recipe in which each value remembers its option, so that messages name that.

    The run is named after the model, so that the same command goes on where an earlier one ended.
    """
    path = _given("--model", model)
    generation: dict[str, Any] = {}
    if server is not None:
        generation = {"backend": "openai", "openai": {"base_url": Located(server, Place("--server")), "model": path}}
    return {
        "name": "eval-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-")[-90:],
        "model": {"path": path},
        "evaluation": {
            "models": ["base"],
            "benchmarks": [_given("--benchmark", benchmark) for benchmark in benchmarks],
            "generation": generation,
        },
    }


def _given(option: str, value: str) -> Located:
    return Located(value, Place(hide_given(f"{option} {value}")))
