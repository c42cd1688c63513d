"""Python imports this at its start: every settings class has one more setting, every dataclass one more field.

So the code under test is that of a later version, in this process and in those that it starts.
"""

import dataclasses
from typing import Any

import xcoder_core.settings as ground

_PACKAGES = ("xcoder_core", "xcoder_train", "reward", "synth", "evaluation")
_dataclass = dataclasses.dataclass


class Settings(ground.Settings):
    """Every section inherits from this one."""

    added_later: bool = False
    """Off."""


def _grown(given: type | None = None, /, **options: Any) -> Any:
    def grow(cls: type) -> type:
        if cls.__module__.partition(".")[0] in _PACKAGES:
            cls.__annotations__ = {**cls.__dict__.get("__annotations__", {}), "added_later": int}
            cls.added_later = dataclasses.field(default=7, kw_only=True)  # type: ignore[attr-defined]
        return _dataclass(cls, **options)

    return grow if given is None else grow(given)


ground.Settings = Settings  # type: ignore[misc]
dataclasses.dataclass = _grown
