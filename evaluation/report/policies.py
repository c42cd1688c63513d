"""Programs on which two verdict policies differ, chosen by rule: of each pair of verdicts some, the first ones."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

from evaluation.measurement import ResultLayout
from evaluation.policies import PolicyDifference
from evaluation.report.examples import shortened
from evaluation.results import ModelResult
from xcoder_core.records import read_records

PROGRAMS = 6  # of one benchmark
PROGRAM_BYTES = 8_000


@dataclass(frozen=True)
class PolicyProgram:
    """One program with what each policy says of it, and how many samples of the model wrote it."""

    label: str
    problem: str
    verdicts: str
    samples: int
    code: str


def choose_programs(results: Mapping[str, ModelResult], benchmark: str) -> tuple[str, list[PolicyProgram], int]:
    """What is said of the differences on a benchmark, at most `PROGRAMS` of the programs, and how many are left out."""
    kinds: dict[str, list[PolicyProgram]] = {}
    counts: Counter[str] = Counter()
    for label, result in results.items():
        path = ResultLayout(result.folder).policy_differences
        mine = {count.problem_id for count in result.counts if count.benchmark == benchmark}
        names: dict[str, str] = {}
        for row in read_records(path, PolicyDifference):
            if row.problem_id not in mine:
                continue
            names = names or {problem.problem_id: problem.source for problem in result.problems()}
            verdicts = f"{row.first_policy} {row.first}, {row.second_policy} {row.second}"
            counts[verdicts] += 1
            if len(kept := kinds.setdefault(verdicts, [])) < PROGRAMS:
                code = shortened(row.code, PROGRAM_BYTES)
                problem = names[row.problem_id] or row.problem_id
                kept.append(PolicyProgram(label, problem, verdicts, row.samples, code))
    in_turn = chain.from_iterable(zip_longest(*(kinds[verdicts] for verdicts in sorted(kinds))))
    chosen = [program for program in in_turn if program is not None][:PROGRAMS]
    if not counts:
        return "The policies agree on every program.", [], 0
    listed = "; ".join(f"{verdicts}: {count:,}" for verdicts, count in sorted(counts.items()))
    return f"The policies differ on {counts.total():,} programs ({listed}).", chosen, counts.total() - len(chosen)
