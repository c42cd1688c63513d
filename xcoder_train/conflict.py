"""What one setting of a recipe says against another: the message, and where it stands."""

from dataclasses import dataclass

from xcoder_train.core.yaml_source import Part


@dataclass(frozen=True)
class Conflict:
    """A message at `paths[0]`; it stands only while all of `paths` are free of mistakes of their own."""

    paths: tuple[tuple[Part, ...], ...]
    message: str


def conflict(message: str, *dotted: str) -> Conflict:
    """A conflict between the keys at these dotted paths; it is told at the first."""
    return Conflict(tuple(tuple(path.split(".")) for path in dotted), message)
