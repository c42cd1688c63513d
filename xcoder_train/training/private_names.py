"""What we use of TRL and transformers that they may change without a word: private names, and messages that we drop.

Every such use in this project has its row in `private_names.toml`. A version that lacks one is refused before anything
is trained.
"""

import inspect
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from xcoder_core.errors import EnvironmentLacks


@dataclass(frozen=True)
class PrivateName:
    """A name of a class or module, or a text in its module's source, by where it stands (`module:object`)."""

    owner: str
    name: str
    why: str

    def is_there(self) -> bool:
        """Whether the installed version has it, also where only its constructor sets it."""
        try:
            owner = resolve_name(self.owner)
        except (ImportError, AttributeError):
            return False
        if hasattr(owner, self.name):
            return True
        source = inspect.getsource(inspect.getmodule(owner) or owner)
        if not self.name.isidentifier():
            return self.name in source
        return re.search(rf"\bself\.{self.name}\b[^\n]* = ", source) is not None


PRIVATE_NAMES = tuple(
    PrivateName(owner, name, why)
    for owner, names in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
    for name, why in names.items()
)


def missing(names: Iterable[PrivateName]) -> Iterator[str]:
    """One sentence for each of the names that the installed version lacks."""
    for each in names:
        if not each.is_there():
            yield f"{each.owner.replace(':', '.')} has no {each.name} ({each.why})"


def require_private_names() -> None:
    """Raise `EnvironmentLacks` where the installed TRL or transformers lacks a name that training uses."""
    lacking = list(missing(PRIVATE_NAMES))
    if lacking:
        raise EnvironmentLacks(
            f"the installed TRL or transformers is not one that this version works with: {'; '.join(lacking)}. "
            "Install the versions that pyproject.toml asks for: pip install ."
        )
