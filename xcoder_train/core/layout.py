"""The files that synthesis leaves for every later stage, and the record that says which split a problem is in."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Membership:
    """Which split a kept problem belongs to, and how many operations it composes."""

    problem_id: str
    split: str
    use: str
    depth: int


@dataclass(frozen=True)
class SynthLayout:
    """Where each table of a finished synthesis stands, below the stage's folder."""

    folder: Path

    @property
    def problems(self) -> Path:
        """`Problem` records, kept ones only, by problem_id."""
        return self.folder / "problems.parquet"

    @property
    def tests(self) -> Path:
        """Labelled `TestCase` records, by (problem_id, index)."""
        return self.folder / "tests.parquet"

    @property
    def solutions(self) -> Path:
        """Every judged candidate `Solution`, accepted or not, by (problem_id, index)."""
        return self.folder / "solutions.parquet"

    @property
    def memberships(self) -> Path:
        """`Membership` records, by problem_id."""
        return self.folder / "memberships.parquet"

    @property
    def solution_answers(self) -> Path:
        """What a language model answered when it was asked for solutions, with token counts; not there otherwise."""
        return self.folder / "work" / "answers" / "solutions.parquet"

    @property
    def funnel(self) -> Path:
        """JSON: per split, how many tasks were made, dropped by reason, and kept."""
        return self.folder / "funnel.json"

    @property
    def decontamination(self) -> Path:
        """JSON: which evaluation sets the tasks were compared with, by what check, and how many were removed."""
        return self.folder / "decontamination.json"

    def dataset(self, use: str) -> Path:
        """Folder of the `sft` or `rl` dataset: `train.parquet` and a card; opens with `datasets.load_dataset`."""
        return self.folder / "datasets" / use
