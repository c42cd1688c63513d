"""How often the model solves each prompt before GRPO begins: what the curriculum filters and orders by.

The stage `rates` measures it, with evaluation's sampling and judging.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from evaluation.benchmark import Benchmark
from evaluation.judging import SampleVerdict
from reward.test_table import TestTable
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records, read_table
from xcoder_core.stage import SynthLayout
from xcoder_train.grpo.settings import CurriculumSettings

PASS_RATES = "pass_rates.parquet"


@dataclass(frozen=True)
class PassRate:
    """One prompt: `solved` of `samples`; `truncated` ones were cut off and wrong.

    `samples` counts those that could be judged; the rest failed with the judge, or were never answered.
    """

    problem_id: str
    pass_rate: float
    samples: int
    solved: int
    truncated: int


class RewardTests(dict[str, tuple[TestCase, ...]]):
    """The tests of GRPO's reward as evaluation reads them. They may be gigabytes: each is looked up, none is kept."""

    def __init__(self, table: TestTable) -> None:
        super().__init__()
        self.table = table

    def __missing__(self, problem_id: str) -> tuple[TestCase, ...]:
        own = self.table[problem_id]
        pairs = enumerate(zip(own.inputs, own.expected, strict=True))
        return tuple(TestCase(problem_id, index, *pair) for index, pair in pairs)


def prompts_as_benchmark(layout: SynthLayout, problem_ids: Sequence[str], tests: RewardTests) -> Benchmark:
    """GRPO's prompts as evaluation takes problems. Their tests are those of the synthesis, which has a key."""
    wanted = set(problem_ids)
    return Benchmark(
        name="rl",
        problems=[problem for problem in read_records(layout.problems, Problem) if problem.problem_id in wanted],
        tests=tests,
        group={},
        grouping="",
        description=f"{len(wanted)} prompts of GRPO",
        test_digests={},
    )


def measured_rates(verdicts: Path) -> list[PassRate]:
    """The pass rate of each prompt, from a table of `SampleVerdict`.

    Raises `InfrastructureError` where no sample of a prompt could be judged.
    """
    rates = []
    for problem_id, rows in groupby(read_records(verdicts, SampleVerdict), attrgetter("problem_id")):
        seen = Counter(row.failure for row in rows)
        known = seen.total() - seen["invalid"]
        if not known:
            raise InfrastructureError(
                f"no sample of problem {problem_id} could be judged, so its pass rate is not known. Look at the judge "
                f"(`xcoder doctor`), delete {verdicts}, and run the same command again"
            )
        rates.append(PassRate(problem_id, seen["none"] / known, known, seen["none"], seen["truncated"]))
    return rates


def known_rates(settings: CurriculumSettings, names: Sequence[str], inputs: Mapping[str, Path]) -> dict[str, float]:
    """Pass rates by problem, as the recipe says; with `bands` a number for each, and none for other problems."""
    if settings.bands:
        return band_rates(SynthLayout(inputs["synth"]), settings.bands)
    return read_given(settings.pass_rates or inputs["rates"] / PASS_RATES, names)


def band_rates(layout: SynthLayout, bands: Sequence[str]) -> dict[str, float]:
    """For each problem of the bands a number between 0 and 1, larger in an easier band."""
    path = layout.dataset("rl") / "train.parquet"
    table = read_table(path, columns=["problem_id", "difficulty"])
    band_of = dict(zip(table["problem_id"].to_pylist(), table["difficulty"].to_pylist(), strict=True))
    missing = [band for band in bands if band not in band_of.values()]
    if missing:
        known = ", ".join(sorted({band for band in band_of.values() if band is not None})) or "no difficulty at all"
        raise InputError(
            f"grpo.curriculum.bands: {path} has no problem of difficulty {missing[0]}, only {known}. An import of an "
            "earlier version kept none: import the set again (name=…)"
        )
    number = {band: 1 - (rank + 1) / (len(bands) + 1) for rank, band in enumerate(bands)}
    return {name: number[band] for name, band in band_of.items() if band in number}


def read_given(path: Path, problem_ids: Sequence[str]) -> dict[str, float]:
    """Pass rates from a Parquet file with the columns `problem_id` and `pass_rate` (0 to 1), one for each problem."""
    table = read_table(path)
    missing = {"problem_id", "pass_rate"} - set(table.column_names)
    if missing:
        raise InputError(f"grpo.curriculum.pass_rates: {path} lacks the column(s) {', '.join(sorted(missing))}")
    rates = dict(zip(table["problem_id"].to_pylist(), table["pass_rate"].to_pylist(), strict=True))
    if len(rates) < table.num_rows:
        raise InputError(f"grpo.curriculum.pass_rates: {path} names a problem twice; expected one row for each problem")
    for name in problem_ids:
        rate = rates.get(name)
        if not isinstance(rate, int | float) or not 0 <= rate <= 1:
            raise InputError(
                f"grpo.curriculum.pass_rates: {path} gives {rate!r} for problem {name}; expected a number from 0 to 1"
            )
    return rates
