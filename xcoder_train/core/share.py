"""What one of several processes does of a list: one item in so many, into a file of its own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """The share of process `index` (from 0) among `of`."""

    index: int = 0
    of: int = 1

    def items(self, together: Sequence[Item]) -> Sequence[Item]:
        """This process's items of all."""
        return together[self.index :: self.of]

    def file(self, path: Path) -> Path:
        """Where this process's part of the file at `path` stands; another division has other files."""
        return path.with_name(f"{path.stem}-{self.index}-of-{self.of}{path.suffix}")


WHOLE = Share()
"""That of a process which is alone."""


def share_of_this_process() -> Share:
    """As torchrun or accelerate divided the job over all of its nodes; everything without them."""
    return Share(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
