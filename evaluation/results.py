"""What an evaluation leaves of one model, and how it is read back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluation.judging import SampleVerdict
from evaluation.measurement import ResultLayout
from evaluation.samples import Sample
from evaluation.score_file import BenchmarkScores, Scores
from evaluation.scores import ProblemCounts
from xcoder_core.errors import InputError
from xcoder_core.problem import Problem
from xcoder_core.records import read_records
from xcoder_core.stage import RESULT_FILE


@dataclass(frozen=True)
class ModelResult:
    """A finished evaluation: `scores` as in scores.json, `counts` per problem, sorted by problem_id."""

    label: str
    folder: Path
    scores: Scores
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


def entries_of(results: Mapping[str, ModelResult], benchmark: str) -> dict[str, BenchmarkScores]:
    """By model, what the scores hold of a benchmark."""
    return {label: result.scores["benchmarks"][benchmark] for label, result in results.items()}
