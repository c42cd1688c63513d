"""The stage that removes tasks: contaminated ones, then duplicates, within and across splits.

MinHash LSH over word shingles proposes pairs of statements, and their exact Jaccard similarity decides. Tasks come in
table order: a training task loses against an evaluation task, and a later one against an earlier one. A task that is
removed does not cause another removal.

A task is contaminated where it repeats a problem of an evaluation set. Statements are compared by their word n-grams,
whatever their case and punctuation. It is common to remove a training sample that shares any one n-gram with an
evaluation sample: n = 13 (GPT-3, arXiv 2005.14165, App. C), n = 10 (Qwen2.5-Coder, arXiv 2409.12186, sec. 5), n = 8
(s1, arXiv 2501.19393; open-r1's `scripts/decontaminate.py`). X-Coder (arXiv 2601.06953) describes no decontamination.

Programming tasks share whole sentences that do not tell them apart ("The first line of the input contains two
integers"), so that rule removes nearly everything. Here n is smaller, n-grams that several evaluation problems share
are ignored, and a task must share a part of its n-grams, as Cosmopedia asks that half of the evaluation sample be
matched (huggingface/cosmopedia, `decontamination/`). The common rule is `ngram_share: 0, boilerplate: null`.

It finds copies, also inside a longer text, edits, and reordered sentences, but no problem in wholly other words;
`benchmarks/cleaning.py` measures that.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from synth.config import CleaningSettings
from synth.statement_index import StatementIndex, statement_ngrams
from synth.tables import Removal, StatedTask, WorkTables
from xcoder_core.errors import InputError
from xcoder_core.files import sha256, write_json
from xcoder_core.records import read_records, write_records
from xcoder_core.rows import RowPlace, sound_rows
from xcoder_core.stage import SynthLayout
from xcoder_core.terminal import Progress

EXACT = "exact duplicate"
NEAR = "near-duplicate"
CONTAMINATED = "contaminated"

LSH_MARGIN = 0.85
"""The index looks this far below the similarity that counts, so that its errors lose few pairs; they are then compared
exactly."""

STATEMENTS = ("question_content", "statement", "problem", "question", "prompt")
IDS = ("question_id", "problem_id", "task_id", "id")
DATES = ("contest_date", "date")


@dataclass(frozen=True, slots=True)
class EvaluationProblem:
    """A problem that a model will be measured on. `day` is when it was published, None where the set does not say."""

    set_name: str
    problem: str
    statement: str
    day: date | None


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One file; the hash of its bytes identifies it, whatever its path."""

    name: str
    sha256: str
    problems: tuple[EvaluationProblem, ...]


def read_evaluation_set(path: Path) -> EvaluationSet:
    """Read LiveCodeBench's format, or any JSON lines or Parquet file with a column of statements.

    A repeated id gets the row's number, so that an id names one problem. Raises `InputError` for a file or row without
    a statement.
    """
    problems = []
    names: set[str] = set()
    for place, row in sound_rows(path):
        problem = _problem(place, row)
        if problem.problem in names:  # sets that were joined may each count from 1
            problem = replace(problem, problem=f"{problem.problem} (row {place.number})")
        names.add(problem.problem)
        problems.append(problem)
    if not problems:
        raise InputError(f"{path} holds no row; expected one problem of an evaluation set per row")
    return EvaluationSet(path.stem, sha256(path), tuple(problems))


def _problem(place: RowPlace, row: dict[str, object]) -> EvaluationProblem:
    column = next((name for name in STATEMENTS if name in row), None)
    if column is None:
        raise InputError(f"{place}: none of the columns {', '.join(STATEMENTS)}; found {', '.join(row)}")
    statement = row[column]
    if not isinstance(statement, str) or not statement.strip():
        raise InputError(f"{place}: `{column}` holds no text")
    named = next((str(row[name]) for name in IDS if row.get(name) not in (None, "")), f"row {place.number}")
    return EvaluationProblem(place.path.stem, named, statement, _day(place, row))


def _day(place: RowPlace, row: dict[str, Any]) -> date | None:
    value = next((row[name] for name in DATES if row.get(name) is not None), None)
    if value is None or isinstance(value, datetime):
        return None if value is None else value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(value).date()
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: {value!r:.40} is not a date in ISO format") from error


class Decontamination:
    """The n-grams of the evaluation sets. Memory is that of the sets; statements are compared one by one."""

    def __init__(self, sets: Iterable[EvaluationSet], settings: CleaningSettings) -> None:
        self.sets = tuple(sets)
        self._settings = settings
        self._compared = [problem for item in self.sets for problem in item.problems if self._is_in_window(problem)]
        ngrams = [statement_ngrams(problem.statement, settings.ngram_words) for problem in self._compared]
        shared_by = Counter(ngram for found in ngrams for ngram in found)
        most = settings.boilerplate
        self._common = frozenset(n for n, count in shared_by.items() if most is not None and count > most)
        self._sizes = array("I")
        self._holders: dict[int, array[int]] = {}
        for number, found in enumerate(ngrams):
            own = found - self._common or found  # a problem that is there many times over is compared all the same
            self._sizes.append(len(own))
            for ngram in own:
                self._holders.setdefault(ngram, array("I")).append(number)

    def find(self, statement: str) -> tuple[EvaluationProblem, float] | None:
        """The evaluation problem with the largest share of common n-grams, and the share (0 to 1), where it is enough.

        The share is of the shorter statement, so that a part of a problem, or a longer text around one, is found too.
        """
        found = statement_ngrams(statement, self._settings.ngram_words)
        ngrams = found - self._common or found
        common = Counter(number for ngram in ngrams for number in self._holders.get(ngram, ()))
        shares = ((count / min(len(ngrams), self._sizes[number]), -number) for number, count in common.items())
        share, negative = max(shares, default=(0.0, 0))
        if not common or share < self._settings.ngram_share:
            return None
        return self._compared[-negative], share

    def report(self, checked: int, matched: Iterable[str]) -> dict[str, object]:
        """What `decontamination.json` holds, from the number of compared tasks and the set of each removed one."""
        removed = Counter(matched)
        return {
            "check": {
                "kind": "word n-grams",
                "words": self._settings.ngram_words,
                "share": self._settings.ngram_share,
                "boilerplate": self._settings.boilerplate,
                "window": [None if day is None else day.isoformat() for day in self._settings.window],
            },
            "tasks_checked": checked if self.sets else 0,
            "tasks_removed": removed.total(),
            "sets": [
                {
                    "name": item.name,
                    "sha256": item.sha256,
                    "problems": len(item.problems),
                    "compared": sum(map(self._is_in_window, item.problems)),
                    "dates": _dates(item),
                    "tasks_removed": removed[item.name],
                }
                for item in self.sets
            ],
        }

    def _is_in_window(self, problem: EvaluationProblem) -> bool:
        first, last = self._settings.window
        day = problem.day
        return day is None or ((first is None or day >= first) and (last is None or day <= last))


def _dates(item: EvaluationSet) -> list[str] | None:
    days = [problem.day for problem in item.problems if problem.day is not None]
    return [min(days).isoformat(), max(days).isoformat()] if days else None


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
