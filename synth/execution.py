"""The stages that run programs through the judge: every candidate on every input, and brute force on the small ones.

Identical programs of a task run once. A run that failed in the judge (IE) does not judge the program: its task is set
aside and counted. If too many fail, the stage stops, and the next run tries them again.
"""

from collections.abc import Iterable, Iterator, Sequence

from reward.config import JudgeSettings
from reward.open_judge import open_judge
from reward.submission import Submission
from synth.tables import Candidate, Execution, ExecutionTimes, Quarantined, Task, TaskInputs, WorkTables, split_of
from xcoder_core.errors import InfrastructureError
from xcoder_core.keys import Keys
from xcoder_core.records import RecordStore, read_records, write_records
from xcoder_core.terminal import Progress

INFRASTRUCTURE_FAILURE = "infrastructure failure"

FAILED_SHARE = 0.01
"""Share of tasks that may be lost to infrastructure failures before the run stops."""

BRUTE_FORCE = -1
"""The `program` of a brute-force solution, where candidates have their index."""

NOT_RUN = "not run"
"""The status of brute force on inputs that are too large for it, and on all where the judge itself failed."""


def execute_candidates(judge_settings: JudgeSettings, tables: WorkTables, total_tasks: int) -> None:
    """Run what has not been run yet. Raises `InfrastructureError` when more than 1 % of the tasks fail that way."""
    store = RecordStore(tables.executions, Execution, ("task_id", "program"))
    times = RecordStore(tables.execution_times, ExecutionTimes, ("task_id", "program"))
    if store.is_sealed:
        times.seal()  # a kill may have come between the two
        return
    failed: dict[str, Quarantined] = {}
    total = sum(len(distinct_programs(candidates)) for _, candidates in tables.by_task("candidates"))
    with (
        open_judge(judge_settings) as judge,
        Progress("executions", total, "programs", done=len(store.keys)) as progress,
    ):
        for executed in judge.execute(_submissions(tables, store.keys)):
            task_id, _, index = executed.id.rpartition("/")
            program = int(index)
            if any(run.status == "IE" for run in executed.runs):
                failed[task_id] = Quarantined(task_id, -1, split_of(task_id), INFRASTRUCTURE_FAILURE, "")
                if len(failed) > FAILED_SHARE * total_tasks:
                    store.close()
                    times.close()
                    raise InfrastructureError(
                        f"the judge itself failed on {len(failed)} of {total_tasks} tasks. At most {FAILED_SHARE:.0%} "
                        "may be lost. Look at it (xcoder doctor), then run the same command: what was executed is kept."
                    )
            else:
                if (task_id, program) not in times.keys:  # else a kill came before the next line
                    seconds = tuple(round(run.cpu_seconds, 6) for run in executed.runs)
                    times.append(ExecutionTimes(task_id, program, seconds))
                statuses = tuple(run.status for run in executed.runs)
                store.append(Execution(task_id, program, statuses, tuple(run.output or "" for run in executed.runs)))
            progress.advance(1)
    write_records(tables.failures, Quarantined, failed.values(), ("task_id", "index"))
    store.seal()
    times.seal()


def execute_brute_force(judge_settings: JudgeSettings, tables: WorkTables) -> None:
    """Run each task's brute-force solution, where there is one, on the smaller half of its inputs.

    The result is an `Execution` in a table of its own: it votes on labels and never becomes a solution.
    """
    store = RecordStore(tables.brute_force, Execution, ("task_id",))
    if store.is_sealed:
        return
    given = read_records(tables.inputs, TaskInputs)
    total = sum(one.brute_force is not None and bool(one.inputs) for one in given)
    if total:
        sizes: dict[str, list[int]] = {}
        with (
            open_judge(judge_settings) as judge,
            Progress("brute force", total, "programs", len(store.keys)) as progress,
        ):
            for executed in judge.execute(_brute_force_submissions(tables, store.keys, sizes)):
                of_task = sizes.pop(executed.id)
                statuses, outputs = [NOT_RUN] * len(of_task), [""] * len(of_task)
                if all(run.status != "IE" for run in executed.runs):
                    for place, run in zip(smaller_half(of_task), executed.runs, strict=True):
                        statuses[place], outputs[place] = run.status, run.output or ""
                store.append(Execution(executed.id, BRUTE_FORCE, tuple(statuses), tuple(outputs)))
                progress.advance(1)
    store.seal()


def distinct_programs(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Each program of a task that can be run, with the index of the first candidate that wrote it."""
    programs: dict[str, int] = {}
    for candidate in candidates:
        if candidate.fault is None:
            programs.setdefault(candidate.code, candidate.index)
    return programs


def smaller_half(sizes: Sequence[int]) -> list[int]:
    """Places of the inputs that are not larger than the median (the lower one of two)."""
    median = sorted(sizes)[(len(sizes) - 1) // 2]
    return [place for place, size in enumerate(sizes) if size <= median]


def _submissions(tables: WorkTables, done: Keys) -> Iterator[Submission]:
    for task, (given,), candidates in tables.by_task("inputs", "candidates"):
        if not given.inputs:  # verification drops the task
            continue
        for code, program in distinct_programs(candidates).items():
            if (task.task_id, program) not in done:
                share_process = task.problem.io == "function"
                yield _submission(f"{task.task_id}/{program}", task, code, given.inputs, share_process)


def _brute_force_submissions(tables: WorkTables, done: Keys, sizes: dict[str, list[int]]) -> Iterator[Submission]:
    """What is to be run; `sizes` gets the input sizes of each task that is in the judge's hands."""
    for task, (given,) in tables.by_task("inputs"):
        if given.brute_force is not None and given.inputs and (task.task_id,) not in done:
            sizes[task.task_id] = [len(text) for text in given.inputs]
            inputs = tuple(given.inputs[place] for place in smaller_half(sizes[task.task_id]))
            yield _submission(task.task_id, task, given.brute_force, inputs)


def _submission(name: str, task: Task, code: str, inputs: tuple[str, ...], share_process: bool = False) -> Submission:
    return Submission(
        id=name,
        code=code,
        inputs=inputs,
        expected=(None,) * len(inputs),
        function_name=task.problem.function_name,
        limits=task.problem.limits,
        share_process=share_process,
    )
