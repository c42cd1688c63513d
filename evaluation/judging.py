"""Verdicts on a model's samples: each distinct program of a problem is judged once, and every failure has a name."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from evaluation.evalplus import program_in, program_under_test
from evaluation.samples import KEY, Sample
from reward.checker import read_checker
from reward.config import JudgeSettings
from reward.extract import extract_code
from reward.open_judge import open_judge
from reward.submission import Submission
from reward.verdict import Judgement, Verdict
from xcoder_core.errors import InfrastructureError
from xcoder_core.files import write_json
from xcoder_core.problem import Problem, TestCase
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records

Failure = Literal[
    "none", "wrong_answer", "runtime", "time", "memory", "output", "syntax", "no_code", "truncated", "invalid"
]
NO_CODE = "no code"
UNANSWERED = "unanswered"
FAILURES: dict[str, Failure] = {
    Verdict.AC: "none",
    Verdict.WA: "wrong_answer",
    Verdict.RE: "runtime",
    Verdict.TLE: "time",
    Verdict.MLE: "memory",
    Verdict.OLE: "output",
    Verdict.CE: "syntax",
    Verdict.IE: "invalid",
    NO_CODE: "no_code",
    UNANSWERED: "invalid",
}


@dataclass(frozen=True, slots=True)
class SampleVerdict:
    """What the judge said of one sample: `passed` of `total` tests before the first failure.

    `verdict` is the judge's, or "no code" where the completion holds no program, or "unanswered" where there is no
    completion. `failure` is "none" for a right program, "truncated" for a wrong one whose completion was cut off, and
    "invalid" where the judge's own machinery or the model's server failed: such a sample says nothing about the model.
    """

    problem_id: str
    sample_index: int
    verdict: str
    passed: int
    total: int
    failure: Failure


def judge_samples(
    samples_path: Path,
    path: Path,
    tiers_path: Path,
    problems: Mapping[str, Problem],
    tests: Mapping[str, tuple[TestCase, ...]],
    settings: JudgeSettings,
    maximum_invalid_share: float,
    extract: Callable[[str], str | None] = extract_code,
) -> None:
    """Leave a verdict on every sample of the table `samples_path` in the table at `path`.

    `extract` gives the program of a completion, None where there is none. `tiers_path` is a JSON list of the isolation
    tiers that the judge had while it worked on this table.
    Verdicts are kept one by one, so a killed run goes on. Raises `InfrastructureError` as soon as more than
    `maximum_invalid_share` of all samples are invalid; these are judged again by the next run, the others are kept.
    """
    store = RecordStore(path, SampleVerdict, KEY)
    if store.is_sealed:
        return
    total = unanswered = 0
    for sample in read_records(samples_path, Sample):
        total += 1
        unanswered += sample.finish_reason == "unanswered"
    done = {(row.problem_id, row.sample_index): row for row in store.pending()}
    invalid: list[SampleVerdict] = []
    with open_judge(settings, alone=True) as judge, Progress("judging", total, "samples", done=len(done)) as progress:
        asked: dict[str, _Program] = {}
        before = json.loads(tiers_path.read_text(encoding="utf-8")) if tiers_path.exists() else []
        write_json(tiers_path, sorted({*before, judge.tier}))
        judgements = judge.judge(
            _submissions(samples_path, problems, tests, store, done, asked, progress, extract),
            stop_at_first_failure=True,
        )
        for judgement in judgements:
            rows = asked.pop(judgement.id).rows(judgement)
            if judgement.is_infrastructure_failure:
                invalid += rows
                _refuse_too_many(unanswered + len(invalid), total, maximum_invalid_share, judgement.message)
            else:
                store.extend(rows)
            progress.advance(len(rows))
    store.extend(invalid)
    store.seal()


@dataclass(frozen=True)
class _Program:
    """A distinct program of a problem, and the samples that wrote it."""

    samples: tuple[Sample, ...]

    def rows(self, judgement: Judgement) -> list[SampleVerdict]:
        return [_verdict_row(sample, judgement.verdict, judgement.passed, judgement.total) for sample in self.samples]


def _submissions(
    samples_path: Path,
    problems: Mapping[str, Problem],
    tests: Mapping[str, tuple[TestCase, ...]],
    store: RecordStore[SampleVerdict],
    done: Mapping[tuple[str, int], SampleVerdict],
    asked: dict[str, _Program],
    progress: Progress,
    extract: Callable[[str], str | None],
) -> Iterator[Submission]:
    """What has no verdict yet, one problem in memory at a time; `asked` learns which samples each submission is for.

    Samples without a program, and those whose program has a verdict from before, are settled on the way.
    """
    for problem_id, group in groupby(read_records(samples_path, Sample), key=lambda sample: sample.problem_id):
        cases = tests[problem_id]
        programs: dict[str | None, list[Sample]] = {}
        for sample in group:
            if sample.finish_reason == "unanswered":
                if (problem_id, sample.sample_index) not in done:
                    store.append(_verdict_row(sample, UNANSWERED, 0, len(cases)))
                    progress.advance()
            else:
                programs.setdefault(program_in(problems[problem_id], sample.completion, extract), []).append(sample)
        for code, samples in programs.items():
            left = tuple(sample for sample in samples if (problem_id, sample.sample_index) not in done)
            known = next((row for sample in samples if (row := done.get((problem_id, sample.sample_index)))), None)
            if not left:
                continue
            if code is None:
                store.extend(_verdict_row(sample, NO_CODE, 0, len(cases)) for sample in left)
                progress.advance(len(left))
            elif known is not None:
                store.extend(_verdict_row(sample, known.verdict, known.passed, known.total) for sample in left)
                progress.advance(len(left))
            else:
                submission_id = f"{problem_id}/{left[0].sample_index}"
                asked[submission_id] = _Program(left)
                yield Submission(
                    id=submission_id,
                    code=program_under_test(problems[problem_id], code),
                    inputs=tuple(case.input for case in cases),
                    expected=tuple(case.expected for case in cases),
                    function_name=None if problems[problem_id].io == "stdin" else problems[problem_id].function_name,
                    limits=problems[problem_id].limits,
                    checker=read_checker(problems[problem_id].checker),
                )


def _verdict_row(sample: Sample, verdict: str, passed: int, total: int) -> SampleVerdict:
    failure = FAILURES[verdict]
    if sample.finish_reason == "length" and failure not in ("none", "invalid"):
        failure = "truncated"
    return SampleVerdict(sample.problem_id, sample.sample_index, str(verdict), passed, total, failure)


def _refuse_too_many(invalid: int, total: int, maximum_share: float, reason: str) -> None:
    if invalid > maximum_share * total:
        raise InfrastructureError(
            f"no answer came or the judge's machinery failed on {invalid} of {total} samples, more than "
            f"evaluation.maximum_invalid_share = {maximum_share:g} allows; the last reason: {reason}. No score is "
            "given. Mend the cause (`xcoder doctor` helps) and run again: only what has no verdict is judged."
        )
