"""The stage that runs every candidate on every input of its task, through the judge.

Identical programs of a task run once. A run that the judge could not carry out (IE) says nothing about a program: the
task is set aside and counted. Where that stops the run, the next one tries it again.
"""

from collections.abc import Iterable, Iterator

from reward.config import JudgeSettings
from reward.open_judge import open_judge
from reward.submission import Submission
from synth.tables import (
    Candidate,
    Execution,
    ExecutionTimes,
    Quarantined,
    Task,
    TaskInputs,
    WorkTables,
    beside,
    split_of,
)
from xcoder_core.errors import InfrastructureError
from xcoder_core.keys import Keys
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records, write_records

INFRASTRUCTURE_FAILURE = "infrastructure failure"

FAILED_SHARE = 0.01
"""Share of tasks that may be lost to infrastructure failures before the run stops."""


def execute_candidates(judge_settings: JudgeSettings, tables: WorkTables, total_tasks: int) -> None:
    """Run what has not been run yet. Raises `InfrastructureError` when more than 1 % of the tasks fail that way."""
    store = RecordStore(tables.executions, Execution, ("task_id", "program"))
    times = RecordStore(tables.execution_times, ExecutionTimes, ("task_id", "program"))
    if store.is_sealed:
        times.seal()  # a kill may have come between the two
        return
    failed: dict[str, Quarantined] = {}
    rows = beside(read_records(tables.tasks, Task), read_records(tables.candidates, Candidate))
    total = sum(len(distinct_programs(candidates)) for _, candidates in rows)
    with (
        open_judge(judge_settings) as judge,
        Progress("executions", total, "programs", done=len(store.keys)) as progress,
    ):
        for execution in judge.execute(_submissions(tables, store.keys)):
            name, _, program = execution.id.rpartition("/")
            statuses = tuple(run.status for run in execution.runs)
            if "IE" in statuses:
                failed[name] = Quarantined(name, -1, split_of(name), INFRASTRUCTURE_FAILURE, "")
                if len(failed) > FAILED_SHARE * total_tasks:
                    store.close()
                    times.close()
                    raise InfrastructureError(
                        f"{len(failed)} of {total_tasks} tasks could not be executed: the judge itself failed on them, "
                        f"again and again. At most {FAILED_SHARE:.0%} may be lost. Look at the judge (xcoder doctor), "
                        "then run the same command again; what was executed is kept."
                    )
            else:
                outputs = tuple(run.output or "" if run.status == "OK" else "" for run in execution.runs)
                if (name, int(program)) not in times.keys:  # else a kill came before the next line
                    seconds = tuple(round(run.cpu_seconds, 6) for run in execution.runs)
                    times.append(ExecutionTimes(name, int(program), seconds))
                store.append(Execution(name, int(program), statuses, outputs))
            progress.advance(1)
    write_records(tables.failures, Quarantined, failed.values(), ("task_id", "index"))
    store.seal()
    times.seal()


def distinct_programs(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Each program of a task that can be run, with the index of the first candidate that wrote it."""
    programs: dict[str, int] = {}
    for candidate in candidates:
        if candidate.fault is None:
            programs.setdefault(candidate.code, candidate.index)
    return programs


def _submissions(tables: WorkTables, done: Keys) -> Iterator[Submission]:
    rows = beside(
        read_records(tables.tasks, Task),
        read_records(tables.inputs, TaskInputs),
        read_records(tables.candidates, Candidate),
    )
    for task, (given,), candidates in rows:
        problem = task.problem
        if not given.inputs:  # verification drops the task
            continue
        for code, program in distinct_programs(candidates).items():
            if (task.task_id, program) not in done:
                yield Submission(
                    id=f"{task.task_id}/{program}",
                    code=code,
                    inputs=given.inputs,
                    expected=(None,) * len(given.inputs),
                    function_name=problem.function_name,
                    limits=problem.limits,
                    share_process=problem.io == "function",
                )
