"""What one setting of a recipe says against another: the message, and where it stands."""

from dataclasses import dataclass

from xcoder_train.core.yaml_source import Part


@dataclass(frozen=True)
class Conflict:
    """A message about the setting at `path`."""

    path: tuple[Part, ...]
    message: str


def conflict(message: str, dotted: str) -> Conflict:
    """A conflict at a dotted path with settings that the message names."""
    return Conflict(tuple(dotted.split(".")), message)
