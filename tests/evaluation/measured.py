"""A measurement from its parts, as most of these tests want it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark, Decontamination
from evaluation.config import EvaluationSettings
from evaluation.evaluate import begin, judge_and_score
from evaluation.measurement import Measurement
from evaluation.results import ModelResult
from evaluation.samples import sample_together
from reward.config import JudgeSettings


def evaluate_model(
    settings: EvaluationSettings,
    judge: JudgeSettings,
    benchmarks: Sequence[Benchmark],
    label: str,
    generator: Any,
    folder: Path,
    seed: int,
    prompt: Any,
    decontamination: Mapping[str, Decontamination] | None = None,
) -> ModelResult:
    """Sample, judge and score one model, as the stage does in one process."""
    measurement = Measurement(label, folder, benchmarks, settings, judge, seed, prompt, decontamination or {})
    begin(measurement)
    sample_together(measurement, generator)
    return judge_and_score(measurement)
