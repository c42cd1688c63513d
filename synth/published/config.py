"""Settings of an import: which published set, which part of it, and where it lies."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xcoder_core.settings import GivenPath, Settings

Source = Literal["x-coder-sft-376k", "x-coder-rl-40k"]

HUB_IDS: dict[str, str] = {
    "x-coder-sft-376k": "IIGroup/X-Coder-SFT-376k",
    "x-coder-rl-40k": "IIGroup/X-Coder-RL-40k",
}
USES: dict[str, Literal["sft", "rl"]] = {"x-coder-sft-376k": "sft", "x-coder-rl-40k": "rl"}

PARTS: dict[str, dict[str, str]] = {
    "x-coder-sft-376k": {
        name: name for name in ("hybrid_376k", "unique_prompt_202k", "multiple_solution_218k", "verified_90k")
    },
    "x-coder-rl-40k": {"synthetic": "syn_rl_data", "real": "real_rl_data"},
}
"""By set and configuration: the words that the paths of its files contain. The first configuration is the default."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class ImportSettings(Settings):
    """One published set, or a part of one. Its rows become a split whose name is the set's and the configuration's."""

    source: Source
    """Which set it is, so how its columns are read: `x-coder-sft-376k` gives `sft` tasks with solutions,
    `x-coder-rl-40k` gives `rl` tasks with tests."""

    path: GivenPath | None = None
    """Where it lies: a folder or a file (Parquet or JSON lines) on this machine, or an id of a dataset on the hub.
    The set's own id on the hub when left out."""

    configuration: str | None = None
    """`hybrid_376k` (default), `unique_prompt_202k`, `multiple_solution_218k` or `verified_90k` of the SFT set;
    `synthetic` (default) or `real` of the RL set."""

    revision: str | None = None
    """Commit, tag or branch of a dataset on the hub; its main branch when left out. Only a commit makes sure that the
    same rows are read another time."""

    limit: int | None = Field(default=None, ge=1)
    """Only so many rows, the first ones; all when left out."""

    @model_validator(mode="after")
    def _is_a_part_of_its_set(self) -> "ImportSettings":
        parts = PARTS[self.source]
        if self.configuration is not None and self.configuration not in parts:
            raise ValueError(
                f"configuration {self.configuration!r} is none of {self.source}: expected {', '.join(parts)}"
            )
        if self.revision is not None and Path(self.place).exists():
            raise ValueError(f"revision belongs to a dataset on the hub, and {self.place} is on this machine")
        return self

    @property
    def place(self) -> str:
        """The path, or the id on the hub."""
        return self.path or HUB_IDS[self.source]

    @property
    def part(self) -> str:
        """The configuration."""
        return self.configuration or next(iter(PARTS[self.source]))

    @property
    def split(self) -> str:
        """The name of the split that this import becomes."""
        return f"{self.source}-{self.part}"

    @property
    def use(self) -> Literal["sft", "rl"]:
        """What its tasks are for."""
        return USES[self.source]
