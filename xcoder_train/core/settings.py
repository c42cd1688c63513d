"""The base of every settings class: unknown keys are errors, values cannot change, docstrings document fields."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of a recipe, or a part of one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
