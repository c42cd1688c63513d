"""Evaluation sets as decontamination sees them: the statements, their ids and dates. Tests and answers are not read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from synth.features.rows import BadRow, read_rows
from xcoder_train.core.errors import InputError

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
    """One file. By the hash of its bytes it is known again wherever it lies and whatever it is called."""

    name: str
    sha256: str
    problems: tuple[EvaluationProblem, ...]


def read_evaluation_set(path: Path) -> EvaluationSet:
    """Read LiveCodeBench's format, or any JSON lines or Parquet file with a column of statements.

    An id that an earlier row has gets the row's number, so that reports name one problem by it.
    Raises `InputError` for a file without statements, and for a row that has none.
    """
    problems = []
    names: set[str] = set()
    for place, row in _rows(path):
        problem = _problem(path, place, row)
        if problem.problem in names:  # sets that were joined may each count from 1
            problem = replace(problem, problem=f"{problem.problem} (row {place})")
        names.add(problem.problem)
        problems.append(problem)
    if not problems:
        raise InputError(f"{path} holds no row; expected one problem of an evaluation set per row")
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return EvaluationSet(path.stem, digest, tuple(problems))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for found in read_rows(path):
        if isinstance(found, BadRow):
            raise InputError(f"{path}, row {found.place}: {found.reason}")
        yield found


def _problem(path: Path, place: int, row: dict[str, Any]) -> EvaluationProblem:
    column = next((name for name in STATEMENTS if name in row), None)
    if column is None:
        raise InputError(f"{path}, row {place}: none of the columns {', '.join(STATEMENTS)}; found {', '.join(row)}")
    statement = row[column]
    if not isinstance(statement, str) or not statement.strip():
        raise InputError(f"{path}, row {place}: `{column}` holds no text")
    named = next((str(row[name]) for name in IDS if row.get(name) not in (None, "")), f"row {place}")
    return EvaluationProblem(path.stem, named, statement, _day(path, place, row))


def _day(path: Path, place: int, row: dict[str, Any]) -> date | None:
    value = next((row[name] for name in DATES if row.get(name) is not None), None)
    if value is None or isinstance(value, datetime):
        return None if value is None else value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(value).date()
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, row {place}: {value!r:.40} is not a date in ISO format") from error
