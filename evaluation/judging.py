"""Verdicts on a model's samples: each distinct program of a problem is judged once, and every failure has a name."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, TypedDict

from evaluation.evalplus import program_in, program_under_test
from evaluation.measurement import Measurement
from evaluation.prompting import extractor
from evaluation.samples import KEY, Sample
from reward.checker import read_checker
from reward.config import Policy
from reward.open_judge import open_judge
from reward.submission import Submission
from reward.verdict import Verdict
from xcoder_core.errors import InfrastructureError
from xcoder_core.files import write_json
from xcoder_core.records import RecordStore, read_records, write_records
from xcoder_core.terminal import Progress

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


def judge_samples(measurement: Measurement, policy: Policy) -> None:
    """Leave a verdict on every sample of a measurement in the table of a policy.

    Verdicts are kept one by one, so a killed run goes on. The isolation tiers that the judge had are kept in
    `judge_tiers.json`. Raises `InfrastructureError` as soon as more than `maximum_invalid_share` of all samples are
    invalid; these are judged again by the next run, the others are kept.
    """
    store = RecordStore(measurement.verdict_tables[policy], SampleVerdict, KEY)
    if store.is_sealed:
        return
    layout, settings = measurement.layout, measurement.judge.model_copy(update={"policy": policy})
    total = unanswered = 0
    for sample in read_records(layout.samples, Sample):
        total += 1
        unanswered += sample.finish_reason == "unanswered"
    done = {(row.problem_id, row.sample_index): row for row in store.pending()}
    maximum_share = measurement.settings.maximum_invalid_share
    invalid: list[SampleVerdict] = []
    asked: dict[str, list[Sample]] = {}
    with open_judge(settings, alone=True) as judge, Progress("judging", total, "samples", done=len(done)) as progress:
        before = json.loads(layout.tiers.read_text(encoding="utf-8")) if layout.tiers.exists() else []
        write_json(layout.tiers, sorted({*before, judge.tier}))

        def keep(rows: list[SampleVerdict]) -> None:
            store.extend(rows)
            progress.advance(len(rows))

        for judgement in judge.judge(_submissions(measurement, done, asked, keep), stop_at_first_failure=True):
            outcome = judgement.verdict, judgement.passed, judgement.total
            rows = [_verdict_row(sample, *outcome) for sample in asked.pop(judgement.id)]
            if not judgement.is_infrastructure_failure:
                keep(rows)
                continue
            invalid += rows
            progress.advance(len(rows))
            if unanswered + len(invalid) > maximum_share * total:
                raise InfrastructureError(
                    f"no answer came or the judge's machinery failed on {unanswered + len(invalid)} of {total} "
                    f"samples, more than {measurement.bound} = {maximum_share:g} allows; the last "
                    f"reason: {judgement.message}. No score is given. Mend the cause (`xcoder doctor` helps) and "
                    "run again: only what has no verdict is judged."
                )
    store.extend(invalid)
    store.seal()


def _submissions(
    measurement: Measurement,
    done: Mapping[tuple[str, int], SampleVerdict],
    asked: dict[str, list[Sample]],
    keep: Callable[[list[SampleVerdict]], None],
) -> Iterator[Submission]:
    """A submission for each distinct program without a verdict, one problem in memory at a time.

    `asked` is told which samples each one is for. Verdicts that need no judge are kept at once.
    """
    extract = extractor(measurement.settings.extraction)
    samples = read_records(measurement.layout.samples, Sample)
    for problem_id, group in groupby(samples, key=lambda sample: sample.problem_id):
        problem, cases = measurement.problems[problem_id], measurement.tests[problem_id]
        programs: dict[str | None, list[Sample]] = {}
        for sample in group:
            programs.setdefault(program_in(problem, sample.completion, extract), []).append(sample)
        for code, wrote_it in programs.items():
            known = next(filter(None, (done.get((problem_id, sample.sample_index)) for sample in wrote_it)), None)
            missing = [sample for sample in wrote_it if (problem_id, sample.sample_index) not in done]
            if code is None:
                keep([_verdict_row(sample, NO_CODE, 0, len(cases)) for sample in missing])
            elif known is not None:
                keep([_verdict_row(sample, known.verdict, known.passed, known.total) for sample in missing])
            else:
                submission_id = f"{problem_id}/{wrote_it[0].sample_index}"
                asked[submission_id] = wrote_it
                yield Submission(
                    id=submission_id,
                    code=program_under_test(problem, code),
                    inputs=tuple(case.input for case in cases),
                    expected=tuple(case.expected for case in cases),
                    function_name=None if problem.io == "stdin" else problem.function_name,
                    limits=problem.limits,
                    checker=read_checker(problem.checker),
                )


def _verdict_row(sample: Sample, verdict: str, passed: int, total: int) -> SampleVerdict:
    if sample.finish_reason == "unanswered":  # it holds no program either
        verdict = UNANSWERED
    failure = FAILURES[verdict]
    if sample.finish_reason == "length" and failure not in ("none", "invalid"):
        failure = "truncated"
    return SampleVerdict(sample.problem_id, sample.sample_index, str(verdict), passed, total, failure)


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """A program on which two policies differ. `sample_index` is the first of the `samples` that wrote it.

    `first` and `second` are the verdicts, of the policies `first_policy` and `second_policy`.
    """

    problem_id: str
    sample_index: int
    samples: int
    first_policy: str
    first: str
    second_policy: str
    second: str
    code: str


def write_differences(measurement: Measurement) -> None:
    """Compare the verdicts of two policies on the same samples, and write what differs."""
    (first_policy, first), (second_policy, second) = measurement.verdict_tables.items()
    layout, extract = measurement.layout, extractor(measurement.settings.extraction)
    found: dict[tuple[str, str], PolicyDifference] = {}
    tables = [read_records(table, SampleVerdict) for table in (first, second)]
    for sample, one, other in zip(read_records(layout.samples, Sample), *tables, strict=True):
        # Only what is right or wrong differs; a wrong answer here and a runtime error there is one outcome.
        if "invalid" in (one.failure, other.failure) or (one.failure == "none") == (other.failure == "none"):
            continue
        place, code = (sample.problem_id, sample.sample_index), extract(sample.completion) or ""
        verdicts = first_policy, one.verdict, second_policy, other.verdict
        known = found.get((sample.problem_id, code), PolicyDifference(*place, 0, *verdicts, code))
        found[sample.problem_id, code] = replace(known, samples=known.samples + 1)
    write_records(layout.policy_differences, PolicyDifference, found.values(), ("problem_id", "sample_index"))


class DifferenceCounts(TypedDict):
    """How many programs and samples differ, and programs by verdicts: {"faithful AC, livecodebench WA": 3}."""

    programs: int
    samples: int
    verdicts: dict[str, int]


def count_differences(path: Path) -> DifferenceCounts:
    """The numbers of a table of differences."""
    programs, samples = Counter[str](), 0
    for row in read_records(path, PolicyDifference):
        programs[f"{row.first_policy} {row.first}, {row.second_policy} {row.second}"] += 1
        samples += row.samples
    return {"programs": programs.total(), "samples": samples, "verdicts": dict(sorted(programs.items()))}
