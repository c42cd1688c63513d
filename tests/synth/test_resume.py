"""A run that is killed, resumed or spread differently leaves the same bytes, and asks nothing twice."""

import dataclasses
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synth.config import SynthSettings
from synth.procedural.teacher import ProceduralTeacher
from synth.publication import publish_tables
from synth.tables import Candidate, Execution, Task, WorkTables
from synth.teaching import make_candidates, make_inputs, make_tasks
from xcoder_core.models.prompt import code_response
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import RecordStore, read_records
from xcoder_core.stage import Membership, SynthLayout

Start = Callable[..., "subprocess.Popen[str]"]
Finish = Callable[..., Path]
Digests = Callable[[Path], dict[str, str]]

STAGES = ("tasks", "inputs", "candidates", "executions", "verification", "cleaning", "datasets")


def kill_in_stage(process: "subprocess.Popen[str]", stage: str, seconds: float) -> None:
    """`kill -9` a moment after the stage has begun."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"{stage}:"):
            break
    time.sleep(seconds)
    process.kill()
    process.communicate()


def test_killed_in_every_stage_and_run_again_gives_the_same_bytes(
    finished_run: Path, start_synthesis: Start, finish_synthesis: Finish, digests: Digests, tmp_path: Path
) -> None:
    rng = random.Random()
    moments = [(stage, rng.uniform(0, 0.02)) for stage in STAGES]
    moments[4:4] = [("executions", rng.uniform(0.2, 0.6)) for _ in range(2)]
    for stage, seconds in moments:
        kill_in_stage(start_synthesis(tmp_path / "run"), stage, seconds)
    assert digests(finish_synthesis(tmp_path / "run")) == digests(finished_run), moments


def test_one_worker_gives_the_same_bytes_as_two(
    finished_run: Path, finish_synthesis: Finish, digests: Digests, tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    assert digests(finish_synthesis(tmp_path / "run", small_settings, 1)) == digests(finished_run)


def test_a_finished_run_is_left_as_it_is(
    finished_run: Path, finish_synthesis: Finish, digests: Digests, tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    """The teacher would answer otherwise now; it is not asked."""
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / "work" / ".tasks.parquet.4711.tmp").write_text("half written by a killed process")
    small_settings["teacher"]["wrong_rate"] = 1.0
    finish_synthesis(tmp_path / "run", small_settings)
    before, after = digests(finished_run), digests(tmp_path / "run")
    cards = {name for name in before if name.endswith("README.md")}
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= cards


@pytest.fixture
def prepared(tmp_path: Path, small_settings: dict[str, Any]) -> tuple[SynthSettings, ProceduralTeacher, WorkTables]:
    """A run with tasks and inputs and no candidate."""
    settings = SynthSettings.model_validate(small_settings)
    teacher, tables = ProceduralTeacher(settings.teacher, 11), WorkTables(tmp_path / "run")
    make_tasks(settings, teacher, tables, 11)
    make_inputs(settings, teacher, tables)
    return settings, teacher, tables


def test_the_teacher_is_not_asked_again_for_what_it_has_answered(
    prepared: tuple[SynthSettings, ProceduralTeacher, WorkTables],
) -> None:
    settings, teacher, tables = prepared
    first = next(read_records(tables.tasks, Task)).task_id
    store = RecordStore(tables.candidates, Candidate, ("task_id", "index"))
    mine = Candidate(first, 2, "by hand", code_response("print(7)"), "print(7)\n", None)
    store.append(mine)
    store.close()
    make_candidates(settings, teacher, tables)
    candidates = list(read_records(tables.candidates, Candidate))
    assert [c for c in candidates if c.task_id == first and c.index == 2] == [mine]
    assert len(candidates) == 40 * settings.candidates_per_task
    assert sum(c.model == "procedural" for c in candidates) == len(candidates) - 1


def test_nothing_is_executed_again(finished_run: Path, finish_synthesis: Finish, tmp_path: Path) -> None:
    """Two executions that no program could have given survive, so they were not run again; the rest are made."""
    shutil.copytree(finished_run / "work", tmp_path / "run" / "work")
    tables = WorkTables(tmp_path / "run")
    was = list(read_records(tables.executions, Execution))
    for table in (tables.executions, tables.failures, tables.verdicts):
        table.unlink()
    planted = [Execution(e.task_id, e.program, e.statuses, ("by hand",) * len(e.outputs)) for e in was[:2]]
    store = RecordStore(tables.executions, Execution, ("task_id", "program"))
    store.extend(planted)
    store.close()
    finish_synthesis(tmp_path / "run")
    assert list(read_records(tables.executions, Execution)) == planted + was[2:]


def test_a_resumed_run_does_not_repeat_a_statement_that_was_drawn_before_the_kill(
    tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    """Planted: the first task has the statement that the second one would be drawn with."""
    settings = SynthSettings.model_validate(small_settings)
    teacher, tables = ProceduralTeacher(settings.teacher, 11), WorkTables(tmp_path / "run")
    make_tasks(settings, teacher, WorkTables(tmp_path / "scratch"), 11)
    first, second, *_ = read_records(WorkTables(tmp_path / "scratch").tasks, Task)
    store = RecordStore(tables.tasks, Task, ("task_id",))
    store.append(dataclasses.replace(second, task_id=first.task_id))
    store.close()
    make_tasks(settings, teacher, tables, 11)
    tasks = list(read_records(tables.tasks, Task))
    assert tasks[0].problem == second.problem
    assert tasks[1].task_id == second.task_id and tasks[1].problem != second.problem
    assert len({task.problem.problem_id for task in tasks}) == len(tasks)


@pytest.mark.parametrize("sealed", [(), ("problems",), ("problems", "tests", "solutions")])
def test_publication_that_was_cut_off_is_made_again_from_the_start(
    finished_run: Path, digests: Digests, tmp_path: Path, sealed: tuple[str, ...]
) -> None:
    """As a kill leaves it: some tables sealed, of the others a journal with a part of the records."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    layout = SynthLayout(run)
    kinds: dict[str, tuple[type, tuple[str, ...]]] = {
        "problems": (Problem, ("problem_id",)),
        "tests": (TestCase, ("problem_id", "index")),
        "solutions": (Solution, ("problem_id", "index")),
        "memberships": (Membership, ("problem_id",)),
    }
    for name, (record_type, key) in kinds.items():
        if name not in sealed:
            path = run / f"{name}.parquet"
            some = list(read_records(path, record_type))[3:9]
            path.unlink()
            store = RecordStore(path, record_type, key)
            store.extend(some)
            store.close()
    publish_tables(WorkTables(run), layout)
    assert digests(run) == digests(finished_run)
