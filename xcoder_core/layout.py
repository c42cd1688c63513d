"""The files that synthesis leaves for every later stage, and the record that says which split a problem is in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Below:
    """A path below the `folder` of the object that it is read from, for the layouts of folders."""

    path: str

    def __get__(self, owner: Any, kind: type | None = None) -> Path:
        return Path(owner.folder, self.path)


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

    problems = Below("problems.parquet")
    """`Problem` records, kept ones only, by problem_id."""
    tests = Below("tests.parquet")
    """Labelled `TestCase` records, by (problem_id, index)."""
    solutions = Below("solutions.parquet")
    """Every judged candidate `Solution`, accepted or not, by (problem_id, index)."""
    memberships = Below("memberships.parquet")
    """`Membership` records, by problem_id."""
    solution_answers = Below("work/answers/solutions.parquet")
    """What a language model answered when it was asked for solutions, with token counts; not there otherwise."""
    funnel = Below("funnel.json")
    """JSON: per split, how many tasks were made, dropped by reason, and kept."""
    decontamination = Below("decontamination.json")
    """JSON: which evaluation sets the tasks were compared with, by what check, and how many were removed."""

    def dataset(self, use: str) -> Path:
        """Folder of the `sft` or `rl` dataset: `train.parquet` and a card; opens with `datasets.load_dataset`."""
        return self.folder / "datasets" / use
