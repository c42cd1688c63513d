"""The base of every settings class: unknown keys are errors, values cannot change, docstrings document fields."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator
from pydantic.main import IncEx

from xcoder_core.files import JsonObject


class Settings(BaseModel):
    """A section of a recipe, or a part of one. In its paths `~` and `$NAME` stand for what a shell would put there."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _paths_as_a_shell_reads_them(cls, value: Any) -> Any:
        if isinstance(value, Path):
            return Path(expanded(str(value)))
        if isinstance(value, tuple) and any(isinstance(each, Path) for each in value):
            return tuple(Path(expanded(str(each))) for each in value)
        return value


SettingsType = TypeVar("SettingsType", bound=Settings)
Value = TypeVar("Value")


def require(value: Value | None) -> Value:
    """A section or path that the caller knows to be there, because its stage would not run without it."""
    if value is None:
        raise RuntimeError("a stage was asked for whose section the recipe lacks")
    return value


def differences_from_defaults(settings: Settings, exclude: IncEx | None = None) -> JsonObject:
    """What a section says beyond its defaults, as JSON values; a setting that is added later is not in it.

    A field without a default is always in it. `exclude` names fields, nested as in pydantic's `model_dump`.
    """
    return settings.model_dump(mode="json", exclude_defaults=True, exclude=exclude)


def at_default(section: SettingsType, path: str) -> SettingsType:
    """A copy of a section with the field at a dotted `path` at its default, where the section has such a field."""
    name, _, below = path.partition(".")
    field, value = type(section).model_fields.get(name), getattr(section, name, None)
    if below and isinstance(value, Settings):
        return section.model_copy(update={name: at_default(value, below)})
    if below or field is None or field.is_required():
        return section
    return section.model_copy(update={name: field.get_default(call_default_factory=True)})


def expanded(path: str) -> str:
    """A path with `~`, `~user`, `$NAME` and `${NAME}` replaced. Raises ValueError for one that stands for nothing."""
    replaced = os.path.expanduser(os.path.expandvars(path))
    unknown = re.search(r"\$\w+|\$\{\w+\}|^~[^/]*", replaced)
    if unknown:
        what = "home folder" if unknown[0].startswith("~") else "environment variable"
        raise ValueError(f"{unknown[0]} names no {what} that is known here; write the path out")
    return replaced


def _named_in_capitals(name: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError("expected the NAME of an environment variable in capitals, never the secret that it holds")
    return name


GivenPath = Annotated[str, AfterValidator(expanded)]  # or an id on the hub
VariableName = Annotated[str, AfterValidator(_named_in_capitals)]
"""The name of an environment variable that holds a secret, such as HF_TOKEN: a recipe never holds the secret."""
