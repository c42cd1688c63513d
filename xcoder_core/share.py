"""How several processes divide a list: each takes every n-th item and writes a file of its own."""

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
"""The share of a single-process run: everything."""


def share_of_this_process() -> Share:
    """The share that torchrun or accelerate gave to this process, over all nodes; everything without them."""
    return Share(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def context_parallel_size() -> int:
    """The number of processes that a row is split over, as `accelerate launch` sets it; they share their examples."""
    return int(os.environ.get("PARALLELISM_CONFIG_CP_SIZE", "1"))


def await_files(paths: Iterable[Path]) -> None:
    """Wait without end for what other processes make: a launcher ends all of them when one fails.

    Their shares may differ by hours, after which a barrier of torch would have given up.
    """
    for path in paths:
        while not path.exists():
            time.sleep(0.1)
