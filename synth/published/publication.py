"""From pooled problems to the tables, datasets, cards and counts of an import, in one pass in the order of ids."""

import heapq
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from synth.card import card_path, write_import_card
from synth.funnel import plain_counts
from synth.publication import RlRow, RowMaker, SftRow
from synth.published.pooling import PooledProblem
from synth.published.work import ImportWork
from synth.tables import Quarantined, Removal, WorkTables, task_id
from xcoder_core.files import write_text
from xcoder_core.layout import Membership, SynthLayout
from xcoder_core.ordered_table import ordered_table
from xcoder_core.problem import Limits, Problem, Solution, TestCase
from xcoder_core.progress import Progress
from xcoder_core.records import read_records

ROWS: dict[str, tuple[type[SftRow | RlRow], tuple[str, ...]]] = {
    "sft": (SftRow, ("problem_id", "rank")),
    "rl": (RlRow, ("problem_id",)),
}
"""By use: the record of a dataset's row, and its key."""


@dataclass
class ImportFunnel:
    """What became of the rows of one set; the fields are those of `funnel.json`."""

    rows: int
    set_aside: Counter[str] = field(default_factory=Counter)
    rows_merged: int = 0
    made: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    accepted_solutions: int = 0
    tests: int = 0
    tests_in_conflict: int = 0
    tests_without_text: int = 0
    styles: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def keep(self, pooled: PooledProblem) -> None:
        """Count a problem that is kept."""
        self.kept += 1
        self.accepted_solutions += len(pooled.solutions)
        self.tests += len(pooled.tests)
        self.tests_in_conflict += pooled.conflicts
        self.tests_without_text += pooled.tests_without_text
        self.styles[pooled.style] += 1
        self.kinds[pooled.io] += 1

    def as_json(self) -> dict[str, object]:
        """The funnel as JSON values."""
        return plain_counts(self)

    def steps(self) -> list[tuple[str, int]]:
        """What became of the rows, from the first step to the last."""
        steps = [("rows", self.rows)]
        steps += [(f"set aside: {reason}", count) for reason, count in sorted(self.set_aside.items())]
        steps += [("merged into another row's problem", self.rows_merged), ("problems", self.made)]
        steps += [(f"dropped: {reason}", count) for reason, count in sorted(self.dropped.items())]
        steps += [("problems kept", self.kept), ("solutions", self.accepted_solutions), ("tests", self.tests)]
        return [*steps, ("tests in conflict", self.tests_in_conflict), ("tests without text", self.tests_without_text)]


def publish(
    maker: RowMaker, tables: WorkTables, layout: SynthLayout, work: ImportWork, rows: tuple[int, ...]
) -> tuple[dict[str, ImportFunnel], dict[str, int]]:
    """Write what later stages read, from `rows` of each set; return the funnels and the number of dataset rows."""
    settings = maker.settings
    funnels = {item.split: ImportFunnel(count) for item, count in zip(settings.imports, rows, strict=True)}
    _write_quarantine(funnels, tables, work)
    removed = {removal.problem_id: removal.reason for removal in read_records(tables.removals, Removal)}
    limits = Limits(settings.limit_seconds, settings.limit_memory_mib)
    uses = sorted({item.use for item in settings.imports})
    with ExitStack() as stack, Progress("datasets", work.pooled.count(), "tasks") as progress:
        problems = stack.enter_context(ordered_table(layout.problems, Problem, ("problem_id",)))
        tests = stack.enter_context(ordered_table(layout.tests, TestCase, ("problem_id", "index")))
        solutions = stack.enter_context(ordered_table(layout.solutions, Solution, ("problem_id", "index")))
        memberships = stack.enter_context(ordered_table(layout.memberships, Membership, ("problem_id",)))
        datasets = {
            use: stack.enter_context(ordered_table(layout.dataset(use) / "train.parquet", *ROWS[use])) for use in uses
        }
        for pooled in work.pooled.merged():
            progress.advance()
            item = settings.imports[pooled.rank]
            funnel = funnels[item.split]
            funnel.made += 1
            if pooled.problem_id in removed:
                funnel.dropped[removed[pooled.problem_id]] += 1
                continue
            funnel.keep(pooled)
            problem = pooled.problem(limits, source=item.split)
            problems.append(problem)
            memberships.append(Membership(pooled.problem_id, item.split, item.use, depth=0))
            for index, test in enumerate(pooled.tests):
                tests.append(TestCase(pooled.problem_id, index, test.input, test.expected, "published"))
            answers = [
                Solution(pooled.problem_id, index, held.code, held.response, held.model)
                for index, held in enumerate(pooled.solutions)
            ]
            for answer in answers:
                solutions.append(answer)
            made = [maker.rl_row(problem, 0)] if item.use == "rl" else maker.sft_rows(problem, 0, answers)
            for row in made:
                datasets[item.use].append(row)
    for funnel in funnels.values():
        funnel.rows_merged = funnel.rows - funnel.set_aside.total() - funnel.made
    written: dict[str, int] = {use: table.rows for use, table in datasets.items()}
    for use, count in written.items():
        steps = {item.split: funnels[item.split].steps() for item in settings.imports if item.use == use}
        write_text(card_path(layout.dataset(use)), write_import_card(use, count, settings, maker.seed, steps))
    return funnels, written


def _write_quarantine(funnels: dict[str, ImportFunnel], tables: WorkTables, work: ImportWork) -> None:
    """Write and count every row that was set aside, in the order of the sets."""
    splits = list(funnels)
    rows = heapq.merge(work.faulty.merged(), work.left_out.merged(), key=lambda row: (row.rank, row.number))
    with ordered_table(tables.quarantine, Quarantined, ("task_id", "index")) as table:
        for row in rows:
            split = splits[row.rank]
            table.append(Quarantined(task_id(row.rank, split, row.number), -1, split, row.reason, row.shown))
            funnels[split].set_aside[row.reason] += 1
