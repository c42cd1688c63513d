"""From a file or a mapping to a recipe that is free of mistakes, or to what is wrong with it and was probably meant."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pydantic import ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails

from xcoder_core.errors import InputError
from xcoder_core.secrets import hide_forms, hide_given, names_a_secret, secret_form
from xcoder_core.settings import expanded
from xcoder_core.yaml_source import Flaw, Located, Part, Place, entries, located, merge, read_override, read_yaml_file
from xcoder_train.recipe.checks import find_conflicts
from xcoder_train.recipe.fitted import fitted
from xcoder_train.recipe.schema import Recipe, validated
from xcoder_train.training.trl_arguments import CONFIG, DECIDED

Source = Path | str | Mapping[str, object]
"""A recipe's file, or its sections as plain values."""

# Mappings that are one value: given by name on the command line they are replaced, where everything else merges.
_ONE_VALUE = ("styles", "environment", "bins", "completion_tokens", "percent")


_LONGEST_VALUE = 80
# What people put a key into by mistake; a message may end up in a log.
_NOT_SHOWN = {"api_key", "api_key_env", "base_url", "token_env"}
_KEEP_OUT = (
    "a recipe is copied into its run and the report, so it holds no secret. Export it as an environment variable "
    "before the command: every stage sees those, and servers and hubs have a setting for the variable's NAME"
)


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
                raise InputError(f"override '{override}': `extends` is allowed only in a file")
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


def mistake_at(root: Located, path: tuple[Part, ...], message: str) -> Flaw:
    """A mistake at `path`, with the place and the value that `root` has there."""
    found, dotted = root.nearest(path), ".".join(map(str, path))
    return Flaw(found.place, f"{dotted}{_written(root, path)}: {message}" if dotted else message)


def _written(root: Located, path: tuple[Part, ...]) -> str:
    """` = value` as the author wrote it; nothing for a whole section, a possible secret or where there is none."""
    if _NOT_SHOWN.intersection(path) or names_a_secret(str(path[-1])):
        return ""
    above, found = root.nearest(path[:-1]), root.nearest(path)
    if found is above or isinstance(found.value, dict):
        return ""
    text = hide_forms(json.dumps(found.plain(), ensure_ascii=False))
    return f" = {text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + '…'}"


def mistakes_of(error: ValidationError, root: Located) -> list[Flaw]:
    """What pydantic found, with our words and the nearest valid name."""
    return [
        mistake_at(root, path, _message(detail, path))
        for detail in error.errors(include_url=False)
        for path in [_source_path(detail["loc"], root, may_end_in_tag=detail["type"] == "value_error")]
    ]


def secret_mistakes(root: Located) -> list[Flaw]:
    """What looks like a secret: a recipe is copied into its run, the report and W&B, overrides into the manifest."""
    found = []
    for path, item in entries(root):
        if path and isinstance(item.value, str) and item.value:
            form = secret_form(item.value) or ("a secret" if names_a_secret(str(path[-1])) else None)
            if form is not None:
                found.append(mistake_at(root, path, f"looks like {form}; {_KEEP_OUT}"))
    return found


def secrets_in_comments(path: Path) -> list[Flaw]:
    """As `secret_mistakes`, in the comments of a recipe, which is kept in its run as it is."""
    flaws = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        form = secret_form(line.partition("#")[2])
        if form is not None:
            flaws.append(Flaw(Place(str(path), number), f"the comment holds what looks like {form}; {_KEEP_OUT}"))
    return flaws


def _source_path(location: tuple[Part, ...], root: Located, *, may_end_in_tag: bool) -> tuple[Part, ...]:
    """pydantic's location without the parts that name types (tags of unions, `[key]`).

    The last part may be a key that is missing, or the tag of a union whose class refused its values as a whole.
    """
    path: tuple[Part, ...] = ()
    for index, part in enumerate(location):
        here = root.nearest(path)
        known = (isinstance(here.value, dict) and part in here.value) or isinstance(part, int)
        is_last = index == len(location) - 1
        if known or is_last and part != "[key]" and not may_end_in_tag:
            path = (*path, part)
    return path


def _message(detail: ErrorDetails, path: tuple[Part, ...]) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return "is needed and not given"
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_invalid":
        near = get_close_matches(str(context["tag"]), str(context["expected_tags"]).replace("'", "").split(", "), 1)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        return f"`kind` is '{context['tag']}', expected one of {context['expected_tags']}{meant}"
    if kind == "literal_error" and detail["input"] == "gspo":
        return "GSPO is `importance_sampling_level: sequence` with `loss_type: grpo`"
    if kind == "literal_error":
        values = [value.strip("' ") for part in str(context["expected"]).split(" or ") for value in part.split(",")]
        near = get_close_matches(str(detail["input"]), values, 1)
        return f"expected {context['expected']}" + (f"; did you mean `{near[0]}`?" if near else "")
    return _EXPECTED.get(kind) or detail["msg"].replace("Input should be", "expected", 1).replace("valid ", "")


_EXPECTED = {
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "tuple_type": "expected a list, such as [1, 8]",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping of settings",
    "model_attributes_type": "expected a mapping of settings",
    "path_type": "expected a path",
    # Of the names of runs and arms.
    "string_pattern_mismatch": "expected letters, digits, `.`, `_` and `-`, with a letter or a digit first",
}


def _unknown_key(path: tuple[Part, ...]) -> str:
    *above, name = path
    names = _keys_at(tuple(above)) + ([] if above else ["extends"])
    near = get_close_matches(str(name), names, 1)
    meant = f"no such key; did you mean `{near[0]}`?" if near else ""
    for trainer, decided in DECIDED.items():
        if above in ([trainer], [trainer, "training"]) and name in decided:
            return f"no such key; it is decided by {decided[str(name)]}"
        if above == [trainer] and name in _keys_at((trainer, "training")):
            return f"no such key; it belongs to {trainer}.training.{name}"
        if above == [trainer, "training"]:
            below = f"{trainer}.training.trl"
            return f"{meant or 'no such key.'} Arguments of {CONFIG[trainer]} without a key go below {below}"
    return meant or "no such key" + (f"; valid are {', '.join(names)}" if names else "")


@cache
def _schema() -> JsonSchemaValue:
    return Recipe.model_json_schema()


def _keys_at(path: tuple[Part, ...]) -> list[str]:
    """The keys that may stand in the section at `path`, of every class that may stand there."""
    sections = _alternatives(_schema())
    for part in path:
        below = [
            field
            for section in sections
            for field in (
                section.get("properties", {}).get(part),
                section.get("additionalProperties"),
                section.get("items"),
            )
            if isinstance(field, dict)
        ]
        sections = [alternative for field in below for alternative in _alternatives(field)]
    return sorted({name for section in sections for name in section.get("properties", ())})


def _alternatives(field: JsonSchemaValue) -> list[JsonSchemaValue]:
    """The schemas that a field's value may have."""
    if "$ref" in field:
        return _alternatives(_schema()["$defs"][field["$ref"].rpartition("/")[2]])
    choices = field.get("anyOf") or field.get("oneOf")
    return [field] if choices is None else [found for choice in choices for found in _alternatives(choice)]
