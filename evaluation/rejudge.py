"""An official submission judged again: its programs, our verdicts, intervals and breakdowns. No model is asked."""

from collections.abc import Mapping
from pathlib import Path

from evaluation.benchmark import Benchmark
from evaluation.config import EvaluationSettings
from evaluation.evaluate import hold_to_plan, judge_and_score
from evaluation.interchange import read_submission, write_samples
from evaluation.results import ModelResult, ResultLayout
from reward.config import JudgeSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import fingerprint
from xcoder_train.core.problem import Problem
from xcoder_train.core.records import write_records


def rejudge(
    file: Path,
    benchmark: Benchmark,
    settings: EvaluationSettings,
    judge_settings: JudgeSettings,
    label: str,
    folder: Path,
    seed: int,
) -> ModelResult:
    """Judge the programs of `file` (see `interchange`) and leave the files of `ResultLayout` in `folder`.

    The file says how many samples there are; each k of the settings that is beyond them is left out. A folder goes on
    where it was broken off; InputError where it was begun for another file, benchmark or policy.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a submission in an official format of LiveCodeBench")
    layout = ResultLayout(folder)
    programs = read_submission(file, benchmark)
    samples = _samples(programs)
    asked = settings.model_copy(
        update={"samples": samples, "k": tuple(k for k in settings.k if k <= samples) or (1,), "extraction": "given"}
    )
    policies = asked.policies or (judge_settings.policy,)
    hold_to_plan(layout, asked, policies, [benchmark], f"{label} {fingerprint(file)}", seed, "plain")
    if not layout.problems.exists():
        write_records(layout.problems, Problem, benchmark.problems, ("problem_id",))
    if not layout.samples.exists():
        write_samples(layout, programs)
    return judge_and_score(asked, judge_settings, [benchmark], label, folder, seed, {})


def _samples(programs: Mapping[str, list[str]]) -> int:
    return len(next(iter(programs.values())))
