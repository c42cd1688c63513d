"""Verdicts of two policies side by side: the programs on which they differ, by table and in numbers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.judging import SampleVerdict
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


def write_differences(
    samples: Path,
    first: tuple[str, Path],
    second: tuple[str, Path],
    path: Path,
    extract: Callable[[str], str | None],
) -> None:
    """Compare the verdict tables of two policies (name, table) over the same samples, and write what differs."""
    found: dict[tuple[str, str], PolicyDifference] = {}
    tables = [read_records(table, SampleVerdict) for _, table in (first, second)]
    for sample, one, other in zip(read_records(samples, Sample), *tables, strict=True):
        # Only what is right or wrong differs; a wrong answer here and a runtime error there is one outcome.
        if "invalid" in (one.failure, other.failure) or (one.failure == "none") == (other.failure == "none"):
            continue
        code = extract(sample.completion) or ""
        known = found.get((sample.problem_id, code))
        found[sample.problem_id, code] = PolicyDifference(
            problem_id=sample.problem_id,
            sample_index=sample.sample_index if known is None else known.sample_index,
            samples=1 if known is None else known.samples + 1,
            first_policy=first[0],
            first=one.verdict,
            second_policy=second[0],
            second=other.verdict,
            code=code,
        )
    write_records(path, PolicyDifference, found.values(), ("problem_id", "sample_index"))


def count_differences(path: Path) -> dict[str, Any]:
    """{"programs", "samples", "verdicts": {"faithful AC, livecodebench WA": programs}}"""
    programs, samples = Counter[str](), 0
    for row in read_records(path, PolicyDifference):
        programs[f"{row.first_policy} {row.first}, {row.second_policy} {row.second}"] += 1
        samples += row.samples
    return {"programs": programs.total(), "samples": samples, "verdicts": dict(sorted(programs.items()))}
