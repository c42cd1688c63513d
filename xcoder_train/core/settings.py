"""The base of every settings class: unknown keys are errors, values cannot change, docstrings document fields."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator


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


def expanded(path: str) -> str:
    """A path with `~`, `~user`, `$NAME` and `${NAME}` replaced. Raises ValueError for one that stands for nothing."""
    replaced = os.path.expanduser(os.path.expandvars(path))
    unknown = re.search(r"\$\w+|\$\{\w+\}|^~[^/]*", replaced)
    if unknown:
        what = "home folder" if unknown[0].startswith("~") else "environment variable"
        raise ValueError(f"{unknown[0]} names no {what} that is known here; write the path out")
    return replaced


GivenPath = Annotated[str, AfterValidator(expanded)]  # or an id on the hub
