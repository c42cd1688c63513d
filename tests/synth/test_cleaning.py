"""Duplicates among verified tasks: which go, which stay, and in favour of whom."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.cleaning import find_duplicates, statement_shingles
from synth.config import CleaningSettings, SynthSettings
from synth.procedural.teacher import ProceduralTeacher
from synth.tables import Removal, Task, Verdict, WorkTables, task_id
from synth.teaching import make_tasks
from xcoder_train.core.layout import Membership, SynthLayout
from xcoder_train.core.problem import problem_id
from xcoder_train.core.records import RecordStore, read_records

WORDS = [f"word{n}" for n in range(60)]


def verdict(task_id: str, statement: str, problem_id: str | None = None) -> Verdict:
    identity = problem_id or f"problem of {task_id}"
    split = task_id.split("-")[1]
    return Verdict(task_id, identity, split, statement, None, (), (), (), (), (), (), (), 0, 0, True)


def removals(*verdicts: Verdict, **settings: float) -> list[Removal]:
    return list(find_duplicates(iter(verdicts), CleaningSettings.model_validate(settings)))


def changed(count: int) -> str:
    """The 60-word statement with its last `count` words replaced."""
    return " ".join(WORDS[: 60 - count] + [f"other{n}" for n in range(count)])


def test_an_exact_duplicate_always_goes_and_names_its_partner() -> None:
    one, two = verdict("000-a-1", "Add 2. Print it.", "same"), verdict("001-b-1", "Add 2. Print it.", "same")
    (removal,) = removals(one, two, similarity=1.0)
    assert removal == Removal("001-b-1", "same", "b", "exact duplicate", "000-a-1", "same", 1.0)


def test_a_near_duplicate_goes_at_the_similarity_that_was_set() -> None:
    """Five of 60 words changed leave 53 of 63 three-word shingles in common: 0.84."""
    one, two = verdict("000-a-1", changed(0)), verdict("001-b-1", changed(5))
    (removal,) = removals(one, two, similarity=0.8)
    assert (removal.task_id, removal.reason, removal.partner_task_id) == ("001-b-1", "near-duplicate", "000-a-1")
    assert abs(removal.similarity - 53 / 63) < 1e-9
    assert removals(one, two, similarity=0.9) == []


def test_different_statements_stay() -> None:
    assert removals(verdict("000-a-1", changed(0)), verdict("001-b-1", changed(40)), similarity=0.7) == []


def test_the_most_similar_earlier_task_is_the_partner() -> None:
    far, near = verdict("000-a-1", changed(8)), verdict("000-a-2", changed(2))
    (removal,) = removals(far, near, verdict("001-b-1", changed(1)), similarity=0.8)
    assert removal.partner_task_id == "000-a-2"


def test_what_was_removed_removes_nothing_itself() -> None:
    """Each is like the one before it; the third is not like the first."""
    chain = [verdict(f"000-a-{n}", changed(5 * n)) for n in range(3)]
    assert [removal.task_id for removal in removals(*chain, similarity=0.8)] == ["000-a-1"]


def test_shingles_ignore_case_punctuation_and_line_breaks() -> None:
    assert statement_shingles("Add 2.\nPrint: the sum!", 3) == statement_shingles("add 2 print THE sum", 3)
    assert len(statement_shingles("one two", 3)) == 1
    assert statement_shingles("a b c d", 3) != statement_shingles("a b c d", 2)


def test_a_training_task_like_an_evaluation_task_is_removed_from_a_run(
    tmp_path: Path, small_settings: dict[str, Any], finish_synthesis: Callable[..., Path]
) -> None:
    """Planted: the first training task is the first evaluation task with other punctuation."""
    small_settings["splits"] = {
        "train": {"use": "sft", "tasks": 3, "depth": [2], "styles": {"codeforces": 1}},
        "heldout": {"use": "evaluation", "tasks": 2, "depth": [2], "styles": {"codeforces": 1}},
    }
    small_settings["teacher"] = {"wrong_rate": 0.0, "broken_rate": 0.0}
    settings = SynthSettings.model_validate(small_settings)
    scratch, tables = WorkTables(tmp_path / "scratch"), WorkTables(tmp_path / "run")
    make_tasks(settings, ProceduralTeacher(settings.teacher, 11), scratch, 11)
    heldout = next(read_records(scratch.tasks, Task))
    assert heldout.use == "evaluation"

    statement = heldout.problem.statement.replace("Print", "print -")
    identity = problem_id(statement, "stdin", None, None)
    reworded = replace(heldout.problem, statement=statement, problem_id=identity)
    planted = replace(heldout, task_id=task_id(1, "train", 0), split="train", use="sft", problem=reworded)
    store = RecordStore(tables.tasks, Task, ("task_id",))
    store.append(planted)
    store.close()

    layout = SynthLayout(finish_synthesis(tmp_path / "run", small_settings))
    (removal,) = read_records(tables.removals, Removal)
    assert removal == Removal(
        planted.task_id, identity, "train", "near-duplicate", heldout.task_id, heldout.problem.problem_id, 1.0
    )
    uses = {record.problem_id: record.use for record in read_records(layout.memberships, Membership)}
    assert uses[heldout.problem.problem_id] == "evaluation" and identity not in uses
    assert json.loads(layout.funnel.read_text())["train"]["dropped"] == {"near-duplicate": 1}
