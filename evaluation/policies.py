"""Verdicts of two policies side by side: the programs on which they differ, by table and in numbers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from evaluation.extraction import extractor
from evaluation.judging import SampleVerdict
from evaluation.measurement import Measurement
from evaluation.samples import Sample
from xcoder_core.records import read_records, write_records


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
        code = extract(sample.completion) or ""
        known = found.get((sample.problem_id, code))
        found[sample.problem_id, code] = PolicyDifference(
            problem_id=sample.problem_id,
            sample_index=sample.sample_index if known is None else known.sample_index,
            samples=1 if known is None else known.samples + 1,
            first_policy=first_policy,
            first=one.verdict,
            second_policy=second_policy,
            second=other.verdict,
            code=code,
        )
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
