"""The stage that applies dual verification to every task, and measures it against the truth that the teacher knows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from synth.config import SynthSettings, TimeLimitSettings, count_tasks
from synth.execution import BRUTE_FORCE, INFRASTRUCTURE_FAILURE, distinct_programs
from synth.procedural.pipeline import read_pipeline
from synth.procedural.task import true_output
from synth.tables import Execution, ExecutionTimes, Quarantined, Task, TaskInputs, Verdict, WorkTables
from synth.voting import Election, verify, vote_of
from xcoder_core.progress import Progress
from xcoder_core.records import read_records, write_records
from xcoder_core.seeds import derive_seed

NO_INPUTS = "no inputs"
"""The reason of a task whose inputs were all refused, or never written."""

NO_FAIR_LIMIT = "no fair time limit"
"""The reason of a task whose golden solution takes longer than the greatest time limit allows."""

Votes = dict[int, tuple[str | None, ...]]
"""By program: the canonical output on each input, None where the run was not OK."""


def verify_tasks(settings: SynthSettings, tables: WorkTables, seed: int) -> None:
    """Write the verdict on every task. Cheap beside execution, so a run that was cut off does it again."""
    if tables.verdicts.exists():
        return
    with Progress("verification", count_tasks(settings), "tasks") as progress:
        write_records(tables.verdicts, Verdict, _verdicts(settings, tables, seed, progress), ("task_id",))


def _verdicts(settings: SynthSettings, tables: WorkTables, seed: int, progress: Progress) -> Iterator[Verdict]:
    failed = {failure.task_id for failure in read_records(tables.failures, Quarantined)}
    names = ["inputs", "candidates", "executions", "brute_force"]
    if settings.time_limits is not None:
        names.append("execution_times")
    for task, (given,), candidates, executions, slow, *times in tables.by_task(*names):
        progress.advance()
        if task.task_id in failed or not given.inputs:
            reason = INFRASTRUCTURE_FAILURE if task.task_id in failed else NO_INPUTS
            yield _verdict(task, given, {}, {}, Election(reason, (), (), (), None))
            continue
        by_program = {execution.program: execution for execution in executions}
        programs = distinct_programs(candidates)
        runs = {c.index: by_program[programs[c.code]] for c in candidates if c.fault is None}
        votes = _votes(task, [*executions, *slow])
        election = verify(
            [votes[run.program] for run in runs.values()],
            asked=len(candidates),
            sizes=[len(text) for text in given.inputs],
            settings=settings.verification,
            seed=derive_seed(seed, "hold out", task.task_id),
            brute_force=votes.get(BRUTE_FORCE),
        )
        verdict = _verdict(task, given, runs, votes, election)
        if settings.time_limits is not None and verdict.reason is None and verdict.golden is not None:
            golden: ExecutionTimes = next(one for one in times[0] if one.program == runs[verdict.golden].program)
            limit = calibrated_limit([golden.cpu_seconds[place] for place in verdict.tests], settings.time_limits)
            verdict = replace(verdict, limit_seconds=limit, reason=None if limit is not None else NO_FAIR_LIMIT)
        yield verdict


def calibrated_limit(cpu_seconds: Sequence[float], settings: TimeLimitSettings) -> float | None:
    """The least limit of the grid that is `factor` times the slowest of the golden solution's runs, in CPU seconds.

    None where no limit of the grid is enough, so that the task is dropped. Raises `ValueError` without runs.
    """
    if not cpu_seconds:
        raise ValueError("a time limit needs the CPU seconds of at least one run of the golden solution")
    wanted = settings.factor * max(cpu_seconds)
    return next((limit for limit in settings.grid if limit >= wanted), None)


def _votes(task: Task, executions: list[Execution]) -> Votes:
    vote = cache(partial(vote_of, io=task.problem.io))
    return {
        execution.program: tuple(
            vote(output) if status == "OK" else None
            for status, output in zip(execution.statuses, execution.outputs, strict=True)
        )
        for execution in executions
    }


def _verdict(task: Task, given: TaskInputs, runs: dict[int, Execution], votes: Votes, election: Election) -> Verdict:
    candidates = tuple(runs)
    golden = None if election.golden is None else candidates[election.golden]
    labels = election.labels
    truth = _truth(task, given)
    return Verdict(
        task_id=task.task_id,
        problem_id=task.problem.problem_id,
        split=task.split,
        statement=task.problem.statement,
        reason=election.reason,
        tests=tuple(label.input for label in labels),
        labels=tuple(runs[candidates[label.voter]].outputs[label.input] for label in labels),
        agreements=tuple(label.agreement for label in labels),
        weights=tuple(label.weight for label in labels),
        candidates=candidates,
        passed=election.passed,
        scores=election.scores,
        golden=golden,
        labels_right=None if truth is None else sum(label.vote == truth[label.input] for label in labels),
        golden_right=None if truth is None else golden is not None and votes[runs[golden].program] == truth,
        agreement=election.agreement,
    )


def _truth(task: Task, given: TaskInputs) -> tuple[str | None, ...] | None:
    """The right answers, where the teacher knows them."""
    if task.pipeline is None:
        return None
    pipeline = read_pipeline(task.pipeline)
    return tuple(vote_of(true_output(pipeline, text), task.problem.io) for text in given.inputs)
