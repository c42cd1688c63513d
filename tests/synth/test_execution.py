"""Executions: identical programs once, and a failing judge is never a wrong answer."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from synth.config import SynthSettings
from synth.execution import distinct_programs
from synth.procedural.pipeline import read_pipeline
from synth.procedural.teacher import ProceduralTeacher, Writing, parse_response, write_program
from synth.tables import Candidate, Execution, Quarantined, Task, Verdict, WorkTables
from synth.teaching import make_inputs, make_tasks
from xcoder_core.models.prompt import code_response
from xcoder_core.records import RecordStore, read_records, write_records
from xcoder_core.stage import Membership, SynthLayout


def test_programs_that_cannot_be_parsed_are_no_programs() -> None:
    candidates = [parse_response("000-a-1", i, code_response(code)) for i, code in enumerate(["x = (", "y", "y", "z"])]
    assert distinct_programs(candidates) == {"y\n": 1, "z\n": 3}


def test_identical_programs_are_executed_once_and_vote_each(
    tmp_path: Path, small_settings: dict[str, Any], finish_synthesis: Callable[..., Path]
) -> None:
    """Three candidates wrote one right program, the other prints nothing: one execution, agreement 3 of 4."""
    small_settings["splits"] = {"train": {"use": "sft", "tasks": 3, "depth": [1], "styles": {"codeforces": 1}}}
    settings = SynthSettings.model_validate(small_settings)
    tables, teacher = WorkTables(tmp_path), ProceduralTeacher(settings.teacher, 11)
    make_tasks(settings, teacher, tables, 11)
    make_inputs(settings, teacher, tables)
    store = RecordStore(tables.candidates, Candidate, ("task_id", "index"))
    for task in read_records(tables.tasks, Task):
        right = write_program(read_pipeline(task.pipeline), Writing(0, 0, 0))
        for index, code in enumerate([right, "pass\n", right, right]):
            store.append(parse_response(task.task_id, index, code_response(code)))
    store.close()
    finish_synthesis(tmp_path, small_settings)
    executions = list(read_records(tables.executions, Execution))
    assert [execution.program for execution in executions] == [0, 1] * 3
    for verdict in read_records(tables.verdicts, Verdict):
        assert verdict.candidates == (0, 1, 2, 3) and verdict.golden == 0
        assert verdict.agreements == (0.75,) * settings.inputs_per_task
        assert verdict.passed == (settings.inputs_per_task, 0, settings.inputs_per_task, settings.inputs_per_task)


def test_a_judge_that_keeps_failing_stops_the_run_and_the_next_run_goes_on(
    finished_run: Path,
    start_synthesis: Callable[..., Any],
    finish_synthesis: Callable[..., Path],
    digests: Callable[[Path], dict[str, str]],
    tmp_path: Path,
) -> None:
    """Every process of the judge is killed again and again: no program is blamed for it."""
    process = start_synthesis(tmp_path / "run")
    executing, ended = threading.Event(), threading.Event()

    def kill_the_judge() -> None:
        executing.wait()
        while not ended.is_set():
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    os.kill(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    killer = threading.Thread(target=kill_the_judge)
    killer.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("executions:"):
            executing.set()
    ended.set()
    executing.set()
    killer.join()
    assert process.wait() != 0
    assert "InfrastructureError" in "".join(lines) and "the judge itself failed" in "".join(lines)
    assert not WorkTables(tmp_path / "run").executions.exists()
    assert digests(finish_synthesis(tmp_path / "run")) == digests(finished_run)


def test_tasks_lost_to_infrastructure_failures_are_set_aside_and_counted(
    finished_run: Path, finish_synthesis: Callable[..., Path], tmp_path: Path
) -> None:
    """The tables as they stand after the judge failed on one task: no verdict is passed on its programs."""
    shutil.copytree(finished_run / "work", tmp_path / "run" / "work")
    tables = WorkTables(tmp_path / "run")
    lost = next(verdict for verdict in read_records(tables.verdicts, Verdict) if verdict.reason is None)
    others = [e for e in read_records(tables.executions, Execution) if e.task_id != lost.task_id]
    failure = Quarantined(lost.task_id, -1, lost.split, "infrastructure failure", "")
    write_records(tables.executions, Execution, others, ("task_id", "program"))
    write_records(tables.failures, Quarantined, [failure], ("task_id", "index"))
    tables.verdicts.unlink()
    tables_of_run = SynthLayout(finish_synthesis(tmp_path / "run"))
    funnel = json.loads(tables_of_run.funnel.read_text())
    assert funnel[lost.split]["dropped"]["infrastructure failure"] == 1
    assert failure in list(read_records(tables.quarantine, Quarantined))
    assert lost.problem_id not in {m.problem_id for m in read_records(tables_of_run.memberships, Membership)}
