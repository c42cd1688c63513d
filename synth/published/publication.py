"""From pooled problems to the tables, datasets, cards and counts of an import, in one pass in the order of ids."""

import heapq
from collections import Counter
from contextlib import ExitStack
from typing import Any

from synth.config import SynthSettings
from synth.publication import RlRow, SftRow, chat_messages
from synth.published.card import write_import_card
from synth.published.tables import PooledProblem
from synth.published.work import ImportWork
from synth.tables import Quarantined, Removal, WorkTables, task_id
from xcoder_core.files import write_text
from xcoder_core.layout import Membership, SynthLayout
from xcoder_core.models.prompt import PromptStyle, render_prompt
from xcoder_core.ordered_table import ordered_table
from xcoder_core.problem import Limits, Problem, Solution, TestCase
from xcoder_core.progress import Progress
from xcoder_core.records import read_records
from xcoder_core.seeds import derive_seed

Funnel = dict[str, dict[str, Any]]


def publish(
    settings: SynthSettings,
    prompt_style: PromptStyle,
    seed: int,
    tables: WorkTables,
    layout: SynthLayout,
    work: ImportWork,
    rows: tuple[int, ...],
) -> tuple[Funnel, dict[str, int]]:
    """Write what later stages read, and return the funnel of each split and how many rows each dataset has.

    `rows` are the rows of each set.
    """
    imports = settings.imports
    funnel = {item.split: _empty(count) for item, count in zip(imports, rows, strict=True)}
    for (split, reason), count in _write_quarantine(settings, tables, work).items():
        funnel[split]["set_aside"][reason] = count
    removed = {removal.problem_id: removal.reason for removal in read_records(tables.removals, Removal)}
    limits = Limits(settings.limit_seconds, settings.limit_memory_mib)
    with ExitStack() as stack, Progress("datasets", work.pooled.count(), "tasks") as progress:

        def open_table(*arguments: Any) -> Any:
            return stack.enter_context(ordered_table(*arguments))

        problems = open_table(layout.problems, Problem, ("problem_id",))
        tests = open_table(layout.tests, TestCase, ("problem_id", "index"))
        solutions = open_table(layout.solutions, Solution, ("problem_id", "index"))
        memberships = open_table(layout.memberships, Membership, ("problem_id",))
        uses = sorted({item.use for item in imports})
        keys = {"sft": (SftRow, ("problem_id", "rank")), "rl": (RlRow, ("problem_id",))}
        datasets = {use: open_table(layout.dataset(use) / "train.parquet", *keys[use]) for use in uses}
        for pooled in work.pooled.merged():
            progress.advance()
            item = imports[pooled.rank]
            counts = funnel[item.split]
            counts["made"] += 1
            if pooled.problem_id in removed:
                counts["dropped"][removed[pooled.problem_id]] += 1
                continue
            problem = pooled.problem(limits, source=item.split)
            problems.append(problem)
            memberships.append(Membership(pooled.problem_id, item.split, item.use, depth=0))
            for index, test in enumerate(pooled.tests):
                tests.append(TestCase(pooled.problem_id, index, test.input, test.expected, "published"))
            for index, held in enumerate(pooled.solutions):
                solutions.append(Solution(pooled.problem_id, index, held.code, held.response, held.model))
            prompt = chat_messages(render_prompt(problem, prompt_style))
            if item.use == "rl":
                datasets["rl"].append(RlRow(pooled.problem_id, problem.style, 0, prompt, None, None, None))
            else:
                for row in _sft_rows(pooled, problem.style, prompt, settings.solutions_per_task, seed):
                    datasets["sft"].append(row)
            counts["kept"] += 1
            counts["accepted_solutions"] += len(pooled.solutions)
            counts["tests"] += len(pooled.tests)
            counts["tests_in_conflict"] += pooled.conflicts
            counts["tests_without_text"] += pooled.tests_without_text
            counts["styles"][problem.style] += 1
            counts["kinds"][problem.io] += 1
    for counts in funnel.values():
        counts["rows_merged"] = counts["rows"] - counts["set_aside"].total() - counts["made"]
    written: dict[str, int] = {use: table.rows for use, table in datasets.items()}
    told: Funnel = {split: {name: _plain(value) for name, value in counts.items()} for split, counts in funnel.items()}
    for use, count in written.items():
        write_text(layout.dataset(use) / "README.md", write_import_card(use, count, settings, seed, told))
    return told, written


def _sft_rows(pooled: PooledProblem, style: str, prompt: Any, most: int | None, seed: int) -> list[SftRow]:
    """Distinct programs in a seeded order, so that fewer of them are a part of more."""
    order = sorted(range(len(pooled.solutions)), key=lambda index: derive_seed(seed, "rank", pooled.problem_id, index))
    distinct: dict[str, int] = {}
    for index in order:
        distinct.setdefault(pooled.solutions[index].code, index)
    rows = []
    for rank, index in enumerate(list(distinct.values())[:most]):
        completion = chat_messages([{"role": "assistant", "content": pooled.solutions[index].response}])
        rows.append(SftRow(pooled.problem_id, index, rank, style, 0, False, None, None, prompt, completion))
    return rows


def _write_quarantine(settings: SynthSettings, tables: WorkTables, work: ImportWork) -> Counter[tuple[str, str]]:
    """Write every row that was set aside, in the order of the sets; return how many there are by split and reason."""
    splits = [item.split for item in settings.imports]
    found: Counter[tuple[str, str]] = Counter()
    rows = heapq.merge(work.faulty.merged(), work.left_out.merged(), key=lambda row: (row.rank, row.number))
    with ordered_table(tables.quarantine, Quarantined, ("task_id", "index")) as table:
        for row in rows:
            split = splits[row.rank]
            table.append(Quarantined(task_id(row.rank, split, row.number), -1, split, row.reason, row.shown))
            found[split, row.reason] += 1
    return found


def _empty(rows: int) -> dict[str, Any]:
    return {
        "rows": rows,
        "set_aside": Counter(),
        "rows_merged": 0,
        "made": 0,
        "dropped": Counter(),
        "kept": 0,
        "accepted_solutions": 0,
        "tests": 0,
        "tests_in_conflict": 0,
        "tests_without_text": 0,
        "styles": Counter(),
        "kinds": Counter(),
    }


def _plain(value: Any) -> Any:
    return dict(sorted(value.items())) if isinstance(value, Counter) else value
