"""From a file or a mapping to a recipe that is free of mistakes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from xcoder_core.errors import InputError
from xcoder_core.secrets import hide_given
from xcoder_core.settings import expanded
from xcoder_core.yaml_source import Flaw, Located, Place, located, merge, read_override, read_yaml_file
from xcoder_train.recipe.checks import find_conflicts
from xcoder_train.recipe.fitted import fitted
from xcoder_train.recipe.mistakes import mistake_at, mistakes_of, secret_mistakes, secrets_in_comments
from xcoder_train.recipe.schema import Recipe, validated

Source = Path | str | Mapping[str, object]
"""A recipe's file, or its sections as plain values."""

# Mappings that are one value: given by name on the command line they are replaced, where everything else merges.
_ONE_VALUE = ("styles", "environment", "bins", "completion_tokens", "percent")


def load_recipe(source: Source, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and what it extends, lay the overrides over it, and check all of it.

    `source` is a file or a mapping of sections. Raises one InputError that lists every mistake with its file, line,
    dotted path, value, what was expected and the nearest valid name; what does not fit together is looked for once all
    settings can be read.
    """
    _, recipe, mistakes = examine_recipe(source, overrides)
    if recipe is None:
        many = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "1 mistake"
        where = f"{source}: {many} in the recipe" if not isinstance(source, Mapping) else f"{many} in the recipe"
        raise InputError("\n".join([where, *(f"  {mistake}" for mistake in mistakes)]))
    return recipe


def examine_recipe(source: Source, overrides: Sequence[str]) -> tuple[Located, Recipe | None, list[str]]:
    """The merged source, the recipe when it is free of mistakes, and the mistakes otherwise."""
    mistakes: list[Flaw] = []
    root = read_source(source, overrides, mistakes)
    recipe: Recipe | None = None
    try:
        recipe = fitted(validated(root.plain()))
    except ValidationError as error:
        mistakes += mistakes_of(error, root)
    else:
        mistakes += [mistake_at(root, conflict.path, conflict.message) for conflict in find_conflicts(recipe)]
    known = {mistake.place for mistake in mistakes}
    mistakes += [mistake for mistake in secret_mistakes(root) if mistake.place not in known]
    mistakes.sort(key=lambda mistake: (mistake.place.source, mistake.place.line or 0))
    return root, None if mistakes else recipe, list(dict.fromkeys(map(str, mistakes)))


def read_source(source: Source, overrides: Sequence[str], flaws: list[Flaw]) -> Located:
    """The recipe's tree: the files that it extends below it, the overrides above it. `flaws` of the files are added."""
    if isinstance(source, Mapping):
        root = located(source, Place("the recipe"))
    else:
        root = _read_extended(Path(source), (), flaws)
    unreadable = []
    for override in overrides:
        try:
            laid = read_override(override)
            if "extends" in laid.value:
                raise InputError(f"override '{override}': `extends` can only stand in a file")
            if (name := override.partition("=")[0]).rpartition(".")[2] in _ONE_VALUE:
                root = merge(root, read_override(f"{name}=null"))
            root = merge(root, laid)
        except InputError as error:
            unreadable.append(str(error))
    if unreadable:
        raise InputError("\n".join(unreadable))
    if "name" not in root.value and not isinstance(source, Mapping):
        root.value["name"] = Located(Path(source).stem, root.place)
    return root


def _read_extended(path: Path, above: tuple[Path, ...], flaws: list[Flaw]) -> Located:
    root = read_yaml_file(path, flaws)
    if not isinstance(root.value, dict):
        raise InputError(f"{root.place}: expected a recipe, a mapping of sections such as `synth:` and `sft:`")
    if not above:  # of the files, this one is kept as it is, comments and all
        flaws += secrets_in_comments(path)
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    chain = (*above, path.resolve())
    try:
        below = path.parent / expanded(str(extends.value))
    except ValueError as error:
        raise InputError(f"{extends.place}: extends: {error}") from error
    if below.resolve() in chain:
        raise InputError(f"{extends.place}: extends: {extends.value} leads back to itself")
    if not below.is_file():
        raise InputError(f"{extends.place}: extends: there is no file {below}; expected the path of another recipe")
    return merge(_read_extended(below, chain, flaws), root)


def evaluation_recipe(model: str, benchmarks: Sequence[str], server: str | None) -> dict[str, object]:
    """The recipe of `xcoder eval --model M --benchmark B`; messages about its values name their options.

    The run is named after the model, so that the same command goes on where an earlier one ended.
    """
    path = _given("--model", model)
    generation: dict[str, object] = {}
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
