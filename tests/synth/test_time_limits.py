"""Time limits that follow from the golden solution's run times."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synth.config import TimeLimitSettings
from synth.tables import Execution, ExecutionTimes, Task, Verdict, WorkTables
from synth.verification import calibrated_limit
from xcoder_core.problem import Problem
from xcoder_core.records import read_records, write_records
from xcoder_core.stage import SynthLayout


@pytest.mark.parametrize(
    ("slowest", "limit"), [(0.001, 1.0), (0.2, 1.0), (0.21, 2.0), (0.4, 2.0), (1.0, 8.0), (3.2, 16.0), (3.3, None)]
)
def test_the_limit_is_the_next_of_the_grid_above_five_times_the_slowest_run(
    slowest: float, limit: float | None
) -> None:
    assert calibrated_limit([0.0, slowest, slowest / 2], TimeLimitSettings()) == limit


def test_small_differences_in_run_time_do_not_move_the_limit() -> None:
    limits = {calibrated_limit([seconds], TimeLimitSettings()) for seconds in (0.45, 0.5, 0.6, 0.75)}
    assert limits == {4.0}


def test_factor_and_grid_can_be_set_and_are_checked() -> None:
    assert calibrated_limit([1.0], TimeLimitSettings(factor=2, grid=(0.5, 3))) == 3
    with pytest.raises(ValidationError, match="rising"):
        TimeLimitSettings(grid=(2, 1))
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        TimeLimitSettings(factor=0.5)
    with pytest.raises(ValueError, match="at least one run"):
        calibrated_limit([], TimeLimitSettings())


def test_kept_tasks_get_the_limit_of_their_golden_solutions_times_or_are_dropped(
    finished_run: Path, finish_synthesis: Callable[..., Path], tmp_path: Path, small_settings: dict[str, Any]
) -> None:
    """The times are written by hand: task number n took n / 50 seconds on its slowest input."""
    shutil.copytree(finished_run / "work", tmp_path / "run" / "work")
    tables = WorkTables(tmp_path / "run")
    slowest = {task.task_id: place / 50 for place, task in enumerate(read_records(tables.tasks, Task))}
    times = [
        ExecutionTimes(row.task_id, row.program, (0.0,) * (len(row.statuses) - 1) + (slowest[row.task_id],))
        for row in read_records(tables.executions, Execution)
    ]
    write_records(tables.execution_times, ExecutionTimes, times, ("task_id", "program"))
    before = {verdict.task_id: verdict for verdict in read_records(tables.verdicts, Verdict)}
    tables.verdicts.unlink()
    small_settings["time_limits"] = {"factor": 5, "grid": [1, 2]}
    layout = SynthLayout(finish_synthesis(tmp_path / "run", small_settings))
    after = {verdict.task_id: verdict for verdict in read_records(tables.verdicts, Verdict)}
    kept = [verdict for verdict in before.values() if verdict.reason is None]
    last = {verdict.task_id: len(verdict.tests) > 0 and verdict.tests[-1] == 4 for verdict in kept}
    for verdict in kept:
        wanted = 5 * slowest[verdict.task_id] if last[verdict.task_id] else 0.0
        limit = next((seconds for seconds in (1.0, 2.0) if seconds >= wanted), None)
        assert after[verdict.task_id].limit_seconds == limit
        assert after[verdict.task_id].reason == (None if limit else "no fair time limit")
    limits = {problem.problem_id: problem.limits.seconds for problem in read_records(layout.problems, Problem)}
    assert set(limits.values()) == {1.0, 2.0}
    by_problem = {verdict.problem_id: verdict.limit_seconds for verdict in after.values()}
    assert all(by_problem[identity] == seconds for identity, seconds in limits.items())


def test_every_execution_has_its_times_and_a_verdict_its_agreement(finished_run: Path) -> None:
    tables = WorkTables(finished_run)
    executed = {(row.task_id, row.program): len(row.statuses) for row in read_records(tables.executions, Execution)}
    timed = {
        (row.task_id, row.program): row.cpu_seconds for row in read_records(tables.execution_times, ExecutionTimes)
    }
    assert {key: len(seconds) for key, seconds in timed.items()} == executed
    assert all(min(seconds) >= 0 for seconds in timed.values()) and sum(map(sum, timed.values())) > 0
    for verdict in read_records(tables.verdicts, Verdict):
        assert verdict.limit_seconds is None
        if verdict.reason is None:
            assert 0.7 <= verdict.agreement <= 1
