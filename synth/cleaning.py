"""The stage that removes tasks: contaminated ones, then duplicates, within and across splits.

MinHash LSH over word shingles proposes pairs of statements, and their exact Jaccard similarity decides. Tasks come in
table order: a training task loses against an evaluation task, and a later one against an earlier one. A task that is
removed does not cause another removal.
"""

from collections.abc import Callable, Iterator, Mapping

from synth.config import CleaningSettings
from synth.decontamination import Decontamination, read_evaluation_set
from synth.statement_index import StatementIndex
from synth.tables import Removal, StatedTask, WorkTables
from xcoder_core.files import write_json
from xcoder_core.records import read_records, write_records
from xcoder_core.stage import SynthLayout
from xcoder_core.terminal import Progress

EXACT = "exact duplicate"
NEAR = "near-duplicate"
CONTAMINATED = "contaminated"

LSH_MARGIN = 0.85
"""The index looks this far below the similarity that counts, so that its errors lose few pairs; they are then compared
exactly."""


def clean(
    settings: CleaningSettings,
    tables: WorkTables,
    layout: SynthLayout,
    tasks: Callable[[], Iterator[StatedTask]],
    uses: Mapping[str, str],
) -> None:
    """Write what is removed and why, and what the tasks were compared with. `uses` has the use of each split."""
    if tables.removals.exists() and layout.decontamination.exists():
        return
    checked = sum(uses[task.split] != "evaluation" for task in tasks())
    decontamination = Decontamination(map(read_evaluation_set, settings.decontaminate), settings)
    with Progress("cleaning", sum(1 for _ in tasks()), "tasks") as progress:

        def counted() -> Iterator[StatedTask]:
            for task in tasks():
                yield task
                progress.advance()

        removals = find_removals(counted(), settings, decontamination, uses)
        write_records(tables.removals, Removal, removals, ("task_id",))
    found = [row for row in read_records(tables.removals, Removal) if row.reason == CONTAMINATED]
    write_json(layout.decontamination, decontamination.report(checked, [row.partner_task_id for row in found]))


def find_removals(
    tasks: Iterator[StatedTask], settings: CleaningSettings, decontamination: Decontamination, uses: Mapping[str, str]
) -> Iterator[Removal]:
    """A removal for each training task that an evaluation set holds, and for each duplicate among the others."""
    contaminated: list[Removal] = []

    def clean_ones() -> Iterator[StatedTask]:
        for task in tasks:
            match = None if uses[task.split] == "evaluation" else decontamination.find(task.statement)
            if match is None:
                yield task
            else:
                problem, share = match
                contaminated.append(_removal(task, CONTAMINATED, (problem.set_name, problem.problem), share))

    yield from find_duplicates(clean_ones(), settings)
    yield from contaminated


def find_duplicates(tasks: Iterator[StatedTask], settings: CleaningSettings) -> Iterator[Removal]:
    """A removal for each task that duplicates an earlier one that stays; the most similar one is its partner."""
    with StatementIndex(LSH_MARGIN * settings.similarity, settings.permutations, settings.shingle_words) as index:
        for task in tasks:
            same = index.first_of(task.problem_id)
            if same is not None:
                yield _removal(task, EXACT, (same, task.problem_id), 1.0)
                continue
            sketch = index.sketch(task.statement)
            similar = index.most_similar(sketch)
            if similar is not None and similar[0] >= settings.similarity:
                yield _removal(task, NEAR, similar[1], similar[0])
            else:
                index.add(task.task_id, task.problem_id, sketch)


def _removal(task: StatedTask, reason: str, partner: tuple[str, str], similarity: float) -> Removal:
    return Removal(task.task_id, task.problem_id, task.split, reason, *partner, similarity)
