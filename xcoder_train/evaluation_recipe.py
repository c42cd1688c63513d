"""The recipe of an evaluation that was asked for without one: `xcoder eval --model M --benchmark B`."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xcoder_train.core.errors import InputError

_OPTIONS = {
    r'evaluation\.benchmarks\.\d+ = "(.*?)"(?=: )': r"--benchmark \1",
    r'model\.path = "(.*?)"(?=: )': r"--model \1",
    r"evaluation\.generation\.openai\.base_url(?=: )": "--server",
}
"""Which option a key of the recipe came from."""


@contextmanager
def evaluation_recipe(model: str, benchmarks: Sequence[str], server: str | None) -> Iterator[Path]:
    """A recipe file that lasts as long as the context; the run keeps a copy of its own.

    The run is named after the model, so that the same command goes on where an earlier one ended. An InputError about
    the recipe leaves the context as one about the options, since nobody has seen the file.
    """
    generation: dict[str, Any] = {}
    if server is not None:
        generation = {"backend": "openai", "openai": {"base_url": server, "model": model}}
    recipe = {
        "name": "eval-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-")[-90:],
        "model": {"path": model},
        "evaluation": {"models": ["base"], "benchmarks": list(benchmarks), "generation": generation},
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "xcoder-eval.yaml"
        path.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")  # JSON is YAML
        try:
            yield path
        except InputError as error:
            raise InputError(_told_of_options(str(error), path)) from error


def _told_of_options(message: str, path: Path) -> str:
    message = re.sub(rf"{re.escape(str(path))}:\d+: ", "", message)
    message = re.sub(rf"{re.escape(str(path))}: (.*) in the recipe", r"\1 in the options", message)
    for key, option in _OPTIONS.items():
        message = re.sub(key, option, message)
    return message.replace(str(path), "the options")
