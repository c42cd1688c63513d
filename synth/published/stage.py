"""An import from beginning to end: rows, problems, cleaning, and the tables and datasets that later stages read.

Rows are sorted on disk twice: by their statement, to collect the rows of a problem, and by the problem's id, as the
tables are. So memory does not grow with the number of rows, except for what cleaning keeps of each statement.

A killed run reads on after its last finished sorted run; what is made from the sorted runs is made again. The settings
and the files alone decide the result.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter

from synth.cleaning import clean
from synth.config import SynthSettings, uses_of
from synth.funnel import refuse_nothing_kept
from synth.publication import RowMaker
from synth.published.config import ImportSettings
from synth.published.files import count_rows, fetch_files, read_set
from synth.published.pooling import SHOWN_CHARACTERS, FaultyRow, ReadRow, pool
from synth.published.publication import publish
from synth.published.rows import Reading, Row, RowFault, read_rl_row, read_sft_row
from synth.published.work import ImportWork, Position
from synth.tables import StatedTask, WorkTables
from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.layout import SynthLayout
from xcoder_core.models.prompt import PromptStyle
from xcoder_core.progress import Progress
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import BadRow
from xcoder_core.stage import StageContext

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
