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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import ClassVar

from synth.cleaning import clean
from synth.config import SynthSettings, uses_of
from synth.funnel import plain_counts, refuse_nothing_kept, steps, write_import_card
from synth.publication import ROWS, RowMaker
from synth.published.files import ImportSettings, count_rows, fetch_files, read_set
from synth.published.pooling import ImportWork, PooledProblem, Position, ordered_table, pool, set_aside
from synth.published.rows import Reading, Row, RowFault, read_rl_row, read_sft_row
from synth.tables import Quarantined, Removal, StatedTask, WorkTables, task_id
from xcoder_core.errors import InputError
from xcoder_core.files import write_json, write_text
from xcoder_core.models.prompt import PromptStyle
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import BadRow
from xcoder_core.stage import Membership, StageContext, SynthLayout
from xcoder_core.terminal import Progress

READERS: dict[str, Callable[[Row], Reading]] = {"sft": read_sft_row, "rl": read_rl_row}


def import_published(settings: SynthSettings, prompt_style: PromptStyle, context: StageContext) -> None:
    """Make the tables of `SynthLayout` and the datasets of the published sets of `settings.imports`.

    Raises `InputError` for files that are not what the settings say, and where not one row of a set can be used.
    """
    tables, layout = WorkTables(context.folder), SynthLayout(context.folder)
    work = ImportWork(context.folder / "work")
    rows = read_sets(settings.imports, work)
    pool_rows(settings, work)
    clean(settings.cleaning, tables, layout, lambda: read_records(work.stated, StatedTask), uses_of(settings))
    maker = RowMaker(settings, prompt_style, context.seed)
    funnels, dataset_rows = publish(maker, tables, layout, work, rows)
    funnel = {split: plain_counts(counts) for split, counts in funnels.items()}
    write_json(layout.funnel, funnel)
    for split, counts in funnels.items():
        shown = ", ".join(f"{name} {count:,}" for name, (count,) in steps(counts) if count)
        print(f"{split}: {shown}", file=sys.stderr)
    refuse_nothing_kept(funnels.values(), context.folder)
    context.finish(funnel=funnel, dataset_rows=dataset_rows)
    work.remove_runs()


def read_sets(imports: tuple[ImportSettings, ...], work: ImportWork) -> Sequence[int]:
    """Read every row of every set into sorted runs, and return how many rows each set has."""
    at = work.go_on()
    for rank, item in list(enumerate(imports))[len(at.rows) :]:
        files = fetch_files(item)
        number = at.number
        with Progress(f"reading {item.split}", count_rows(files, item.limit), "rows", done=number) as progress:
            for number, row in read_set(files, item, at.number):
                held_enough = _hold(row, item.use, task_id(rank, item.split, number), work)
                number += 1
                if held_enough:
                    at = Position(number, at.runs + 1, at.rows)
                    work.write_read(at)
                progress.advance()
        at = Position(0, at.runs + 1, (*at.rows, number))
        work.write_read(at)
    return at.rows


def pool_rows(settings: SynthSettings, work: ImportWork) -> None:
    """Make one problem of all rows that state it. Raises `InputError` where a set gives none at all."""
    if work.stated.exists() and work.pooled.runs:
        return
    work.pooled.keep(0)
    work.left_out.keep(0)
    problems: Counter[str] = Counter()

    def stated() -> Iterator[StatedTask]:
        for _, rows in groupby(work.read.merged(), key=attrgetter("statement_key")):
            pooled, left_out = pool(rows, settings.limits)
            for row in left_out:
                if work.left_out.append(row):
                    work.left_out.write()
            if pooled is None:
                continue
            split = pooled.problem.source
            problems[split] += 1
            yield StatedTask(pooled.task_id, pooled.problem_id, split, pooled.problem.statement)
            if work.pooled.append(pooled):
                work.pooled.write()
        work.pooled.write()
        work.left_out.write()
        for item in settings.imports:
            if not problems[item.split]:
                raise _useless(item.split, work)

    write_records(work.stated, StatedTask, stated(), ("task_id",))


def _hold(row: Row | BadRow, use: str, name: str, work: ImportWork) -> bool:
    """Read a row and hold it, or why it cannot be used. True when what is held should be written."""
    if isinstance(row, BadRow):
        return work.faulty.append(set_aside(name, row.reason, ""))
    try:
        reading = READERS[use](row)
    except RowFault as fault:
        return work.faulty.append(set_aside(name, str(fault), str(row.get("response") or row.get("problem") or "")))
    key = hashlib.sha256(" ".join(reading.statement.split()).encode()).hexdigest()[:32]
    return work.read.append(replace(reading, statement_key=key, task_id=name))


def _useless(split: str, work: ImportWork) -> InputError:
    for runs in (work.faulty, work.left_out):
        first = next((row for row in runs.merged() if row.split == split), None)
        if first is not None:
            number = int(first.task_id.rpartition("-")[2])
            return InputError(f"not one row of {split} could be used; its row {number} because of this: {first.reason}")
    return InputError(f"{split} has no rows")


@dataclass
class ImportFunnel:
    """What became of the rows of one set; the fields are those of `funnel.json`."""

    STEPS: ClassVar[dict[str, str]] = {
        "rows": "rows",
        "set_aside": "set aside: ",
        "rows_merged": "merged into another row's problem",
        "made": "problems",
        "dropped": "dropped: ",
        "kept": "problems kept",
        "accepted_solutions": "solutions",
        "tests": "tests",
        "tests_in_conflict": "tests in conflict",
        "tests_without_text": "tests without text",
    }

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
        self.styles[pooled.problem.style] += 1
        self.kinds[pooled.problem.io] += 1


def publish(
    maker: RowMaker, tables: WorkTables, layout: SynthLayout, work: ImportWork, rows: Sequence[int]
) -> tuple[dict[str, ImportFunnel], dict[str, int]]:
    """Write what later stages read, from `rows` of each set; return the funnels and the number of dataset rows."""
    settings = maker.settings
    funnels = {item.split: ImportFunnel(count) for item, count in zip(settings.imports, rows, strict=True)}
    _write_quarantine(funnels, tables, work)
    removed = {removal.problem_id: removal.reason for removal in read_records(tables.removals, Removal)}
    uses = uses_of(settings)
    with ExitStack() as stack, Progress("datasets", work.pooled.count(), "tasks") as progress:
        add_problem = stack.enter_context(ordered_table(layout.problems, Problem, ("problem_id",)))
        add_test = stack.enter_context(ordered_table(layout.tests, TestCase, ("problem_id", "index")))
        add_solution = stack.enter_context(ordered_table(layout.solutions, Solution, ("problem_id", "index")))
        add_membership = stack.enter_context(ordered_table(layout.memberships, Membership, ("problem_id",)))
        add_row = {
            use: stack.enter_context(ordered_table(layout.dataset(use) / "train.parquet", *ROWS[use]))
            for use in sorted(set(uses.values()))
        }
        written = dict.fromkeys(add_row, 0)
        for pooled in work.pooled.merged():
            progress.advance()
            problem = pooled.problem
            use, funnel = uses[problem.source], funnels[problem.source]
            funnel.made += 1
            if pooled.problem_id in removed:
                funnel.dropped[removed[pooled.problem_id]] += 1
                continue
            funnel.keep(pooled)
            add_problem(problem)
            add_membership(Membership(problem.problem_id, problem.source, use, depth=0))
            for test in pooled.tests:
                add_test(test)
            for solution in pooled.solutions:
                add_solution(solution)
            for row in maker.rows(use, problem, 0, pooled.solutions, None):
                add_row[use](row)
                written[use] += 1
    for funnel in funnels.values():
        funnel.rows_merged = funnel.rows - funnel.set_aside.total() - funnel.made
    for use, count in written.items():
        write_text(layout.dataset(use) / "README.md", write_import_card(use, count, settings, maker.seed, funnels))
    return funnels, written


def _write_quarantine(funnels: dict[str, ImportFunnel], tables: WorkTables, work: ImportWork) -> None:
    """Write and count every row that was set aside, in the order of the sets."""
    rows = heapq.merge(work.faulty.merged(), work.left_out.merged(), key=attrgetter("task_id"))
    with ordered_table(tables.quarantine, Quarantined, ("task_id", "index")) as append:
        for row in rows:
            append(row)
            funnels[row.split].set_aside[row.reason] += 1
