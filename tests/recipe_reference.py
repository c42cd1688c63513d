"""The page docs/recipe-reference.md, made from the settings classes and the docstrings under their fields.

`python -m tests.recipe_reference > docs/recipe-reference.md` writes it; a test compares the two.
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.trl_arguments import DECIDED

Schema = Mapping[str, Any]

_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_FORMATS = {"path": "path", "date": "date"}


class Reference:
    """The page. A settings class that several keys hold is described at the shortest of their paths."""

    def __init__(self) -> None:
        recipe = Recipe.model_json_schema()
        recipe["required"].remove("name")  # the loader gives it where a recipe does not
        self._classes: dict[str, Schema] = {**recipe["$defs"], "": recipe}
        self._paths, self._headings = {"": ""}, {"": "Top level"}
        self._below: dict[str, list[str]] = {}
        level = [""]
        while level:
            level = [below for name in level for below in self._find_below(name)]

    def text(self) -> str:
        """All of it, as Markdown."""
        values = {
            "names": self._ordered(""),
            "paths": self._paths,
            "headings": self._headings,
            "classes": {name: {"required": (), **settings} for name, settings in self._classes.items()},
            "decided": DECIDED,
        }
        templates = FileSystemLoader(Path(__file__).parent)
        environment = Environment(
            loader=templates, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
        )
        environment.filters |= {"value_of": self._value, "default_of": self._default, "meaning_of": self._meaning}
        return environment.get_template("recipe_reference.md.j2").render(values)

    def _find_below(self, holder: str) -> list[str]:
        """The classes that a class's keys hold and no class before it does; notes where and how they are headed."""
        found = self._below[holder] = []
        for key, field in self._classes[holder]["properties"].items():
            path, names = self._held(f"{self._paths[holder]}.{key}".lstrip("."), field)
            for name in names:
                if name not in self._paths:
                    which = f" of kind {_allowed(self._classes[name]['properties']['kind'])}" if len(names) > 1 else ""
                    self._paths[name], self._headings[name] = path, f"`{path}`{which}"
                    found.append(name)
        return found

    def _ordered(self, name: str) -> list[str]:
        """A class, and after it the classes that it is the first to hold."""
        return [name, *(each for below in self._below[name] for each in self._ordered(below))]

    def _held(self, path: str, field: Schema) -> tuple[str, list[str]]:
        """The path of the settings in a field, and the names of their classes: none, one, or one for each kind."""
        if isinstance(field.get("additionalProperties"), dict):
            return self._held(f"{path}.NAME", field["additionalProperties"])
        if "items" in field:
            return self._held(path, field["items"])
        names = [_class_name(part) for part in _alternatives(field) if "$ref" in part]
        return path, [name for name in names if "properties" in self._classes[name]]

    def _value(self, field: Schema) -> str:
        """What may stand there."""
        alternatives = [part for part in _alternatives(field) if part.get("type") != "null"]
        if len(alternatives) != 1 or alternatives[0] is not field:
            return " or ".join(self._value(part) for part in alternatives)
        if "$ref" in field:
            heading = self._headings.get(_class_name(field))
            if heading is None:
                return "anything"
            # Where there is a choice, the kind says enough.
            shown = heading.rpartition(" of kind ")[2] if " of kind " in heading else heading
            return f"[{shown}](#{_anchor(heading)})"
        if "enum" in field or "const" in field:
            return _allowed(field)
        if "prefixItems" in field:
            return f"[{', '.join(self._value(item) for item in field['prefixItems'])}]"
        if field.get("type") == "array":
            return f"list of {self._value(field['items'])}"
        if field.get("type") == "object":
            inner = field.get("additionalProperties")
            names = field.get("propertyNames", {})
            of = f"mapping of {_allowed(names)}" if "enum" in names else "mapping of names"
            return f"{of} to {self._value(inner)}" if isinstance(inner, dict) else "mapping"
        kind = _FORMATS.get(field.get("format", "")) or _TYPES.get(field.get("type", ""), "anything")
        return f"{kind}{_bounds(field)}"

    def _default(self, field: Schema) -> str:
        """The default; of a section, only what differs from the defaults in its own table, and its kind."""
        default = field.get("default")
        _, names = self._held("", field)
        if names and isinstance(default, dict):
            own = self._classes[names[0]]["properties"]  # a choice of kinds begins with the default one
            default = {
                key: value for key, value in default.items() if value != own[key].get("default") or key == "kind"
            }
        is_left_out = default is None or (names and not default)
        return "—" if is_left_out else f"`{_yaml(default)}`"

    def _meaning(self, field: Schema) -> str:
        """The docstring under the field, or the first sentence of the class that it holds."""
        said = field.get("description")
        if said is None:
            _, names = self._held("", field)
            said = self._classes[names[0]]["description"].split("\n\n")[0] if names else ""
        return " ".join(said.split()).replace("|", "\\|")


def _alternatives(field: Schema) -> list[Schema]:
    return field.get("anyOf") or field.get("oneOf") or [field]


def _class_name(field: Schema) -> str:
    return field["$ref"].rpartition("/")[2]


def _allowed(field: Schema) -> str:
    return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))


def _bounds(field: Schema) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    bounds = {"≥": least, ">": field.get("exclusiveMinimum"), "≤": most, "<": field.get("exclusiveMaximum")}
    said = [f"{sign} {bound}" for sign, bound in bounds.items() if bound is not None and bound < 2**62]  # a seed's end
    return f" {' and '.join(said)}" if said else ""


def _yaml(value: object) -> str:
    """A value as one writes it in a recipe, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Print the page."""
    argparse.ArgumentParser("python -m tests.recipe_reference", None, __doc__).parse_args()
    print(Reference().text(), end="")


if __name__ == "__main__":
    main()
