"""What an evaluation leaves of one model, and how it is read back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.judging import SampleVerdict
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_core.errors import InputError
from xcoder_core.layout import Below
from xcoder_core.problem import Problem
from xcoder_core.records import read_records
from xcoder_core.stage import RESULT_FILE


@dataclass(frozen=True)
class ResultLayout:
    """Where each file of one model's evaluation stands, below the model's folder."""

    folder: Path

    plan = Below("plan.json")
    """JSON: what was asked; a folder that was begun for another plan is refused."""
    problems = Below("problems.parquet")
    """`Problem` records of all benchmarks, by problem_id."""
    samples = Below("samples.parquet")
    """`Sample` records, by (problem_id, sample_index)."""
    verdicts = Below("verdicts.parquet")
    """`SampleVerdict` records, by (problem_id, sample_index)."""

    def verdicts_under(self, policy: str) -> Path:
        """`SampleVerdict` records of a further policy, by (problem_id, sample_index)."""
        return self.folder / f"verdicts-{policy}.parquet"

    policy_differences = Below("policy_differences.parquet")
    """`PolicyDifference` records by (problem_id, sample_index), where two policies were asked for."""
    official = Below("official")
    """Folder of LiveCodeBench's own result files, one folder per benchmark."""
    counts = Below("counts.parquet")
    """`ProblemCounts` records, by problem_id."""
    scores = Below("scores.json")
    """JSON: pass@k with intervals per benchmark, overall and by group. Written last."""
    tiers = Below("judge_tiers.json")
    """JSON list: the isolation tiers under which this result was judged; they differ from machine to machine."""
    timings = Below("timings.json")
    """JSON: measured seconds, which no other file holds."""


@dataclass(frozen=True)
class ModelResult:
    """A finished evaluation: `scores` as in scores.json, `counts` per problem, sorted by problem_id."""

    label: str
    folder: Path
    scores: dict[str, Any]
    counts: tuple[ProblemCounts, ...]

    @property
    def judge_tiers(self) -> list[str]:
        """The isolation tiers that the judge had: "A", "B", or "none" where nothing confined the programs."""
        return json.loads(ResultLayout(self.folder).tiers.read_text(encoding="utf-8"))

    def problems(self) -> Iterable[Problem]:
        """The problems, by problem_id."""
        return read_records(ResultLayout(self.folder).problems, Problem)

    def samples(self) -> Iterable[Sample]:
        """The completions, by (problem_id, sample_index)."""
        return read_records(ResultLayout(self.folder).samples, Sample)

    def verdicts(self) -> Iterable[SampleVerdict]:
        """The verdicts, by (problem_id, sample_index)."""
        return read_records(ResultLayout(self.folder).verdicts, SampleVerdict)


def load_result(folder: Path) -> ModelResult:
    """Read back a finished evaluation of one model."""
    layout = ResultLayout(folder)
    if not layout.scores.exists():
        raise InputError(f"{folder} holds no finished evaluation; {layout.scores.name} is missing. Run `xcoder eval`.")
    scores = json.loads(layout.scores.read_text(encoding="utf-8"))
    if "policy" not in scores:
        raise InputError(f"{folder} was evaluated by an earlier version, which kept less. Run `xcoder eval` again.")
    return ModelResult(scores["label"], folder, scores, tuple(read_records(layout.counts, ProblemCounts)))


def load_results(stage_folder: Path) -> dict[str, ModelResult]:
    """The models of a finished evaluation stage, by label in the order of its recipe.

    The stage's result file maps each label to the folder of its result; results of earlier settings may lie beside.
    """
    figures = json.loads((stage_folder / RESULT_FILE).read_text(encoding="utf-8"))
    return {label: load_result(stage_folder / name) for label, name in figures["models"].items()}
