"""An import from beginning to end: rows, problems, cleaning, and the tables and datasets that later stages read.

Rows are sorted on disk twice: by their statement, to collect the rows of a problem, and by the problem's id, as the
tables are. So memory does not grow with the number of rows, except for what cleaning keeps of each statement.

A killed run reads on after its last finished sorted run; what is made from the sorted runs is made again. The settings
and the files alone decide the result.
"""

import hashlib
import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import attrgetter

from synth.card import write_import_card
from synth.cleaning import clean
from synth.config import SynthSettings, uses_of
from synth.funnel import plain_counts, refuse_nothing_kept
from synth.publication import RlRow, RowMaker, SftRow
from synth.published.config import ImportSettings
from synth.published.files import count_rows, fetch_files, read_set
from synth.published.pooling import SHOWN_CHARACTERS, FaultyRow, PooledProblem, ReadRow, pool
from synth.published.rows import Reading, Row, RowFault, read_rl_row, read_sft_row
from synth.published.work import ImportWork, Position
from synth.tables import Quarantined, Removal, StatedTask, WorkTables, task_id
from xcoder_core.errors import InputError
from xcoder_core.files import write_json, write_text
from xcoder_core.models.prompt import PromptStyle
from xcoder_core.ordered_table import ordered_table
from xcoder_core.problem import Limits, Problem, Solution, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import BadRow
from xcoder_core.stage import Membership, StageContext, SynthLayout
from xcoder_core.terminal import Progress

READERS: dict[str, Callable[[Row], Reading]] = {"sft": read_sft_row, "rl": read_rl_row}


def import_published(
    settings: SynthSettings, prompt_style: PromptStyle, context: StageContext, run_bytes: int | None = None
) -> None:
    """Make the tables of `SynthLayout` and the datasets of the published sets of `settings.imports`.

    Raises `InputError` for files that are not what the settings say, and where not one row of a set can be used.
    """
    tables, layout = WorkTables(context.folder), SynthLayout(context.folder)
    work = ImportWork(context.folder / "work", run_bytes)
    rows = read_sets(settings.imports, work)
    pool_rows([item.split for item in settings.imports], work)
    clean(settings.cleaning, tables, layout, lambda: read_records(work.stated, StatedTask), uses_of(settings))
    maker = RowMaker(settings, prompt_style, context.seed)
    funnels, dataset_rows = publish(maker, tables, layout, work, rows)
    funnel = {split: counts.as_json() for split, counts in funnels.items()}
    write_json(layout.funnel, funnel)
    for split, counts in funnels.items():
        steps = ", ".join(f"{name} {count:,}" for name, count in counts.steps() if count)
        print(f"{split}: {steps}", file=sys.stderr)
    refuse_nothing_kept(funnels.values(), context.folder)
    context.finish(funnel=funnel, dataset_rows=dataset_rows)
    work.remove_runs()


def read_sets(imports: tuple[ImportSettings, ...], work: ImportWork) -> tuple[int, ...]:
    """Read every row of every set into sorted runs, and return how many rows each set has."""
    at = work.go_on()
    while at.rank < len(imports):
        item = imports[at.rank]
        files = fetch_files(item)
        number = at.number
        with Progress(f"reading {item.split}", count_rows(files, item.limit), "rows", done=number) as progress:
            for number, row in read_set(files, item, at.number):
                number += 1
                if _hold(row, at.rank, number - 1, item.use, work):
                    at = Position(at.rank, number, at.runs + 1, at.rows)
                    work.write_read(at)
                progress.advance()
        at = Position(at.rank + 1, 0, at.runs + 1, (*at.rows, number))
        work.write_read(at)
    return at.rows


def pool_rows(splits: list[str], work: ImportWork) -> None:
    """Make one problem of all rows that state it. Raises `InputError` where a set gives none at all."""
    if work.stated.exists():
        return
    work.pooled.keep(0)
    work.left_out.keep(0)
    problems: Counter[int] = Counter()

    def stated() -> Iterator[StatedTask]:
        for _, rows in groupby(work.read.merged(), key=attrgetter("statement_key")):
            problem, left_out = pool(rows, splits)
            for row in left_out:
                if work.left_out.append(row):
                    work.left_out.write()
            if problem is None:
                continue
            problems[problem.rank] += 1
            yield StatedTask(problem.task_id, problem.problem_id, splits[problem.rank], problem.statement)
            if work.pooled.append(problem):
                work.pooled.write()
        work.pooled.write()
        work.left_out.write()
        for rank, split in enumerate(splits):
            if not problems[rank]:
                raise _useless(rank, split, work)

    write_records(work.stated, StatedTask, stated(), ("task_id",))


def _hold(row: Row | BadRow, rank: int, number: int, use: str, work: ImportWork) -> bool:
    """Read a row and hold it, or why it cannot be used. True when what is held should be written."""
    if isinstance(row, BadRow):
        return work.faulty.append(FaultyRow(rank, number, row.reason, ""))
    try:
        reading = READERS[use](row)
    except RowFault as fault:
        shown = row.get("response") or row.get("problem") or ""
        text = str(shown)[:SHOWN_CHARACTERS].encode("utf-8", "replace").decode()
        return work.faulty.append(FaultyRow(rank, number, str(fault), text))
    key = hashlib.sha256(" ".join(reading.statement.split()).encode()).hexdigest()[:32]
    return work.read.append(ReadRow(statement_key=key, rank=rank, number=number, **asdict(reading)))


def _useless(rank: int, split: str, work: ImportWork) -> InputError:
    for runs in (work.faulty, work.left_out):
        first = next((row for row in runs.merged() if row.rank == rank), None)
        if first is not None:
            return InputError(
                f"not one row of {split} could be used; its row {first.number} because of this: {first.reason}"
            )
    return InputError(f"{split} has no rows")


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
        write_text(layout.dataset(use) / "README.md", write_import_card(use, count, settings, maker.seed, steps))
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
