"""What one of several processes does of a list: one item in so many, into a file of its own."""

import os
import time
from collections.abc import Iterable, Sequence
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


def context_parallel_size() -> int:
    """Over how many processes a row is split, as `accelerate launch` tells its processes; they share their examples."""
    return int(os.environ.get("PARALLELISM_CONFIG_CP_SIZE", "1"))


def await_files(paths: Iterable[Path]) -> None:
    """Wait without end for what other processes make: a launcher ends all of them when one fails.

    Their shares may differ by hours, after which a barrier of torch would have given up.
    """
    for path in paths:
        while not path.exists():
            time.sleep(0.1)
