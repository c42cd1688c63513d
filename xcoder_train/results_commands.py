"""`xcoder eval --rejudge FILE` and `xcoder eval --compare A --compare B`: scores without a model."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evaluation.benchmarks import load_benchmarks
from evaluation.breakdown_tables import breakdowns_markdown
from evaluation.evaluate import compare, rejudge
from evaluation.results import ModelResult, load_result
from evaluation.tables import print_results
from xcoder_core.errors import InputError
from xcoder_core.files import write_text
from xcoder_core.settings import require
from xcoder_train.recipe.reading import evaluation_recipe, load_recipe

NOWHERE = "http://127.0.0.1:9/v1"


def rejudge_file(file: Path, benchmark: str, overrides: Sequence[str]) -> None:
    """Judge an official submission again and show its scores; they lie in `runs/rejudge-<file>/`."""
    name = "rejudge-" + re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-")[-80:]
    # The recipe is only read, for its settings and its checks: a model that a server knows needs no folder.
    recipe = load_recipe(evaluation_recipe(name, [benchmark], NOWHERE), [f"name={name}", *overrides])
    settings = require(recipe.evaluation)
    (loaded,) = load_benchmarks(settings.benchmarks, None, settings.livecodebench_folder)
    folder = recipe.run_folder / "evaluation" / loaded.name.replace(":", "-")
    result = rejudge(file, loaded, settings, recipe.judge, file.stem, folder, recipe.seed)
    write_text(folder / "breakdowns.md", breakdowns_markdown({result.label: result}))
    print_results({result.label: result}, {})
    print(f"Verdicts, scores and official files: {folder}")


def compare_results(folders: Sequence[Path]) -> None:
    """Show the scores of finished evaluations side by side, with paired differences of each and the one before it."""
    if len(folders) < 2:
        raise InputError("a comparison needs --compare at least twice, each with the folder of one model's result")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("--compare names one folder twice; each result is compared with another one")
    results: dict[str, ModelResult] = {}
    for folder in folders:
        result = load_result(folder)
        label = f"{folder.resolve().parents[1].name}:{result.label}"
        if label in results:
            label = f"{label} {folder}"
        results[label] = replace(result, label=label)
    first, *others = results.values()
    for other in others:
        for what in ("k", "policy"):
            if other.scores[what] != first.scores[what]:
                raise InputError(
                    f"{first.folder} has {what} {first.scores[what]}, {other.folder} has {other.scores[what]}; "
                    "evaluate both the same way"
                )
        if other.scores["benchmarks"].keys() != first.scores["benchmarks"].keys():
            raise InputError(f"{first.folder} and {other.folder} are about different benchmarks")
    print_results(results, compare(results))
