"""The stage that runs a task's brute-force solution, where the teacher wrote one, on the smaller half of its inputs.

It is an `Execution` like a candidate's, in a table of its own: it has a vote on labels and never becomes a solution.
"""

from collections.abc import Iterator, Sequence

from reward.config import JudgeSettings
from reward.open_judge import open_judge
from reward.submission import Submission
from reward.verdict import Execution as Executed
from synth.tables import Execution, Task, TaskInputs, WorkTables, beside
from xcoder_core.keys import Keys
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records

PROGRAM = -1
"""In the place of a candidate's index."""

NOT_RUN = "not run"
"""The status on inputs that are too large for a slow program, and on all where the judge itself failed."""


def execute_brute_force(judge_settings: JudgeSettings, tables: WorkTables) -> None:
    """Run what has not been run yet."""
    store = RecordStore(tables.brute_force, Execution, ("task_id",))
    if store.is_sealed:
        return
    total = sum(_is_runnable(given) for given in read_records(tables.inputs, TaskInputs))
    if total:
        sizes: dict[str, list[int]] = {}
        with (
            open_judge(judge_settings) as judge,
            Progress("brute force", total, "programs", len(store.keys)) as progress,
        ):
            for executed in judge.execute(_submissions(tables, store.keys, sizes)):
                store.append(_execution(executed, sizes.pop(executed.id)))
                progress.advance(1)
    store.seal()


def smaller_half(sizes: Sequence[int]) -> list[int]:
    """Places of the inputs that are not larger than the median (the lower one of two)."""
    median = sorted(sizes)[(len(sizes) - 1) // 2]
    return [place for place, size in enumerate(sizes) if size <= median]


def _submissions(tables: WorkTables, done: Keys, sizes: dict[str, list[int]]) -> Iterator[Submission]:
    """What is to be run; `sizes` gets the input sizes of each task that is in the judge's hands."""
    for task, (given,) in beside(read_records(tables.tasks, Task), read_records(tables.inputs, TaskInputs)):
        if _is_runnable(given) and (task.task_id,) not in done:
            sizes[task.task_id] = [len(text) for text in given.inputs]
            inputs = tuple(given.inputs[place] for place in smaller_half(sizes[task.task_id]))
            yield Submission(
                id=task.task_id,
                code=given.brute_force,
                inputs=inputs,
                expected=(None,) * len(inputs),
                function_name=task.problem.function_name,
                limits=task.problem.limits,
            )


def _execution(executed: Executed, sizes: list[int]) -> Execution:
    statuses, outputs = [NOT_RUN] * len(sizes), [""] * len(sizes)
    if all(run.status != "IE" for run in executed.runs):
        for place, run in zip(smaller_half(sizes), executed.runs, strict=True):
            statuses[place] = run.status
            outputs[place] = run.output or "" if run.status == "OK" else ""
    return Execution(executed.id, PROGRAM, tuple(statuses), tuple(outputs))


def _is_runnable(given: TaskInputs) -> bool:
    return given.brute_force is not None and bool(given.inputs)
