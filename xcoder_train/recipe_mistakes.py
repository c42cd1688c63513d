"""How a mistake in a recipe is found in its source and told to its author."""

import json
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from xcoder_train.core.secrets import hide_forms, names_a_secret, secret_form
from xcoder_train.core.settings import Settings
from xcoder_train.core.yaml_source import Flaw, Located, Part, Place, entries
from xcoder_train.trl_arguments import Trainer, argument_mistake, arguments

_LONGEST_VALUE = 80
# What people put a key into by mistake; a message may end up in a log.
_NOT_SHOWN = {"api_key", "api_key_env", "base_url", "token_env"}
_KEEP_OUT = (
    "a recipe is copied into its run and the report, so it holds no secret. Export it as an environment variable "
    "before the command: every stage sees those, and servers and hubs have a setting for the variable's NAME"
)


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong at `path`; the place and value are looked up in `root`."""

    path: tuple[Part, ...]
    message: str
    root: Located = field(compare=False, repr=False)

    def __str__(self) -> str:
        place = self.root.nearest(self.path).place
        dotted = ".".join(map(str, self.path))
        return f"{place}: {dotted}{self._written()}: {self.message}" if dotted else f"{place}: {self.message}"

    def order(self) -> tuple[str, int]:
        """By file, then line."""
        place = self.root.nearest(self.path).place
        return place.source, place.line or 0

    def touches(self, paths: tuple[tuple[Part, ...], ...]) -> bool:
        """True when one of `paths` is this mistake's, below it, or a section that it was found in."""
        parent = self.path[:-1]
        return any(path[: len(self.path)] == self.path or (parent and parent[: len(path)] == path) for path in paths)

    def follows(self, earlier: "Mistake") -> bool:
        """True when this was only found because what `earlier` complains of was taken out."""
        if self.path == earlier.path:
            return True
        below = earlier.path[len(self.path) :]
        is_above = earlier.path[: len(self.path)] == self.path
        return is_above and re.search(rf"\b{re.escape(str(below[0]))}\b", self.message) is not None

    def _written(self) -> str:
        """` = value` as the author wrote it; nothing for a whole section, a possible secret or where there is none."""
        if _NOT_SHOWN.intersection(self.path) or names_a_secret(str(self.path[-1])):
            return ""
        above, found = self.root.nearest(self.path[:-1]), self.root.nearest(self.path)
        if found is above or isinstance(found.value, dict):
            return ""
        text = hide_forms(json.dumps(found.plain(), ensure_ascii=False))
        return f" = {text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + '…'}"


def mistakes_of(error: ValidationError, root: Located) -> list[Mistake]:
    """What pydantic found, with our words and the nearest valid name."""
    from xcoder_train.recipe import Recipe

    return [
        Mistake(path, _message(detail, path, Recipe), root)
        for detail in error.errors(include_url=False)
        for path in [_source_path(detail["loc"], root, may_end_in_tag=detail["type"] == "value_error")]
    ]


def training_mistakes(root: Located) -> list[Mistake]:
    """Mistakes in the arguments that `sft.training` and `grpo.training` hand to TRL."""
    trainers: tuple[Trainer, ...] = ("sft", "grpo")
    found = []
    for trainer in trainers:
        section = root.nearest((trainer, "training"))
        if section is root.nearest((trainer,)) or not isinstance(section.value, dict):
            continue
        for name, item in section.value.items():
            message = argument_mistake(trainer, name, item.plain())
            if message is not None:
                found.append(Mistake((trainer, "training", name), message, root))
    return found


def secret_mistakes(root: Located) -> list[Mistake]:
    """What looks like a secret: a recipe is copied into its run, the report and W&B, overrides into the manifest."""
    found = []
    for path, item in entries(root):
        if path and isinstance(item.value, str) and item.value:
            form = secret_form(item.value) or ("a secret" if names_a_secret(str(path[-1])) else None)
            if form is not None:
                found.append(Mistake(path, f"looks like {form}; {_KEEP_OUT}", root))
    return found


def secrets_in_comments(path: Path) -> list[Flaw]:
    """As `secret_mistakes`, in the comments of a recipe, which is kept in its run as it is."""
    flaws = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        form = secret_form(line.partition("#")[2])
        if form is not None:
            flaws.append(Flaw(Place(str(path), number), f"the comment holds what looks like {form}; {_KEEP_OUT}"))
    return flaws


def without(values: dict[str, Any], paths: list[tuple[Part, ...]]) -> dict[str, Any]:
    """A copy of `values` less what stands at `paths`; where nothing stands there, less the section that lacks it."""
    for path in paths:
        values = _dropped(values, path) or {}
    return {"name": "recipe", **values}


def _dropped(here: Any, path: tuple[Part, ...]) -> Any:
    """None stands for what is dropped; a list with a bad entry goes as a whole, so that later indices stay valid."""
    if not path or not isinstance(here, dict) or (len(path) == 1 and path[0] not in here):
        return None
    first, *rest = path
    if first not in here:
        return here
    below = _dropped(here[first], tuple(rest))
    return {key: below if key == first else item for key, item in here.items() if key != first or below is not None}


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


def _message(detail: ErrorDetails, path: tuple[Part, ...], model: type[Settings]) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind == "missing":
        return "is needed and not given"
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_invalid":
        near = get_close_matches(str(context["tag"]), str(context["expected_tags"]).replace("'", "").split(", "), 1)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        return f"`kind` is '{context['tag']}', expected one of {context['expected_tags']}{meant}"
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
    # Of `name` alone.
    "string_pattern_mismatch": "expected letters, digits, `.`, `_` and `-`, with a letter or a digit first",
}


def _unknown_key(path: tuple[Part, ...], model: type[Settings]) -> str:
    *above, name = path
    names = sorted({name for settings in _settings_at(model, tuple(above)) for name in _fields(settings)})
    near = get_close_matches(str(name), names, 1)
    if not above:
        names = [*names, "extends"]
        near = get_close_matches(str(name), names, 1)
    for trainer in ("sft", "grpo"):
        if above == [trainer] and name in arguments(trainer):
            message = argument_mistake(trainer, str(name), None)
            decided = message is not None and message.startswith("is ") and "argument" not in message
            return f"no such key; it {message}" if decided else f"no such key; it belongs to {trainer}.training.{name}"
    if near:
        return f"no such key; did you mean `{near[0]}`?"
    return f"no such key; valid are {', '.join(names)}" if names else "no such key"


def _settings_at(model: type[Settings], path: tuple[Part, ...]) -> list[type[Settings]]:
    """The settings classes that may stand at `path`."""
    annotations: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for settings in _classes(annotations):
            if isinstance(settings, type) and issubclass(settings, Settings):
                if part in _fields(settings):
                    following.append(_fields(settings)[str(part)])
            else:
                following.extend(get_args(settings)[-1:] if get_origin(settings) is dict else get_args(settings)[:1])
        annotations = following
    return [found for found in _classes(annotations) if isinstance(found, type) and issubclass(found, Settings)]


def _fields(settings: type[Settings]) -> dict[str, Any]:
    """The annotations by the names that recipes use."""
    return {field.alias or name: field.annotation for name, field in settings.model_fields.items()}


def _classes(annotations: list[Any]) -> list[Any]:
    """Annotations with unions taken apart, and without what is annotated to them."""
    found: list[Any] = []
    for annotation in annotations:
        if get_origin(annotation) in (Union, UnionType):
            found += _classes(list(get_args(annotation)))
        elif get_origin(annotation) is Annotated:
            found += _classes(list(get_args(annotation)[:1]))
        else:
            found.append(annotation)
    return found
