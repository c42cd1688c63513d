"""The evaluation of one model: what is asked of it, and where each file of its result stands."""

import time
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from evaluation.benchmark import Benchmark, Decontamination
from evaluation.benchmarks import all_problems
from evaluation.config import EvaluationSettings
from evaluation.prompting import EvaluationPrompt
from reward.config import JudgeSettings, Policy
from xcoder_core.files import read_object, write_json
from xcoder_core.problem import Problem, TestCase
from xcoder_core.stage import Below


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
    """`SampleVerdict` records, by (problem_id, sample_index); those of a further policy are in verdicts-POLICY.parquet.
    """
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
class Measurement:
    """One model on benchmarks. `decontamination` holds what is known of its training data, by benchmark.

    The seeds of samples are derived from `purpose`. `bound` is the setting that `settings.maximum_invalid_share` is.
    """

    label: str
    folder: Path
    benchmarks: Sequence[Benchmark]
    settings: EvaluationSettings
    judge: JudgeSettings
    seed: int
    prompt: EvaluationPrompt
    decontamination: Mapping[str, Decontamination] = field(default_factory=dict)
    purpose: str = "evaluation"
    bound: str = "evaluation.maximum_invalid_share"

    @property
    def layout(self) -> ResultLayout:
        """Where its files stand."""
        return ResultLayout(self.folder)

    @cached_property
    def problems(self) -> dict[str, Problem]:
        """The problems of all benchmarks by problem_id."""
        return all_problems(self.benchmarks)

    @property
    def tests(self) -> Mapping[str, tuple[TestCase, ...]]:
        """The tests of each problem. They may lie in files of gigabytes: they are looked up, never gathered."""
        return ChainMap(*(benchmark.tests for benchmark in self.benchmarks))  # type: ignore[arg-type]

    @property
    def verdict_tables(self) -> dict[Policy, Path]:
        """The table of verdicts under each policy; the first policy gives the scores."""
        first, *others = self.settings.policies or (self.judge.policy,)
        further = {policy: self.folder / f"verdicts-{policy}.parquet" for policy in others}
        return {first: self.layout.verdicts, **further}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds of a part to the timings, so that a resumed run counts all of its time."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = read_object(self.layout.timings)
            seconds[part] = round(seconds.get(part, 0.0) + time.monotonic() - started, 3)
            write_json(self.layout.timings, seconds)
