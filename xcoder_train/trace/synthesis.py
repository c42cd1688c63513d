"""What synthesis made of one task: features, teacher, tests, candidates, verification, cleaning, dataset rows."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from synth.cleaning import CONTAMINATED
from synth.execution import INFRASTRUCTURE_FAILURE
from synth.tables import Candidate, Execution, Quarantined, Removal, Task, TaskInputs, Verdict, WorkTables, split_of
from synth.verification import NO_INPUTS
from xcoder_core.files import read_object
from xcoder_core.models.answered import Answer
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_matching
from xcoder_core.stage import Membership, SynthLayout
from xcoder_train.trace.find import Found, columns, select

Record = TypeVar("Record")

_STAGE_OF_REASON = {NO_INPUTS: "inputs", INFRASTRUCTURE_FAILURE: "execution"}


class TracedTask:
    """A task with the records that several steps need, each None or empty where the tables have none.

    `problem` is set for a kept task only. `other_tasks` state the same problem; the value is the removal of one that
    cleaning took out. `sft_rows` and `rl_rows` say which rows of the two datasets are its own, counted from 0.
    """

    def __init__(self, found: Found, folder: Path) -> None:
        self.layout, self.tables = SynthLayout(folder), WorkTables(folder)
        removals = {name: _first(_matching(self.tables.removals, Removal, "task_id", name)) for name in found.task_ids}
        # Of several tasks that state one problem, the first that was not removed is the one that it was made from.
        task_id = min(found.task_ids, key=lambda name: removals[name] is not None, default=None)
        self.folder, self.problem_id, self.task_id = folder, found.problem_id, task_id
        self.removal = removals.pop(task_id) if task_id else None
        self.other_tasks = removals
        self.task = _first(self.of_task(self.tables.tasks, Task))
        self.verdict = _first(self.of_task(self.tables.verdicts, Verdict))
        self.quarantined = self.of_task(self.tables.quarantine, Quarantined)
        self.problem = _first(self.of_problem(self.layout.problems, Problem))
        self.membership = _first(self.of_problem(self.layout.memberships, Membership))
        sft = columns(self.layout.dataset("sft") / "train.parquet", "problem_id", "solution_index", "rank", "is_golden")
        rl = columns(self.layout.dataset("rl") / "train.parquet", "problem_id")
        self.sft_rows = [
            {"row": number, **select(row, "solution_index", "rank", "is_golden")}
            for number, row in enumerate(sft)
            if row["problem_id"] == self.problem_id
        ]
        self.rl_rows = [number for number, row in enumerate(rl) if row["problem_id"] == self.problem_id]

    def of_task(self, path: Path, record_type: type[Record]) -> list[Record]:
        """The task's records in a table."""
        return _matching(path, record_type, "task_id", self.task_id)

    def of_problem(self, path: Path, record_type: type[Record]) -> list[Record]:
        """The problem's records in a table."""
        return _matching(path, record_type, "problem_id", self.problem_id)

    @property
    def use(self) -> str | None:
        """What its split is for: "sft", "rl" or "evaluation"."""
        source = self.membership or self.task
        return source.use if source else None

    @property
    def drop(self) -> tuple[str, str] | None:
        """The stage at which it was dropped, and why; None for a task that was kept."""
        removed, reason = self.removal, self.verdict.reason if self.verdict else None
        if self.problem is not None:
            if self.use == "rl" and not self.rl_rows:
                return "datasets", "too easy: beyond the share that synth.difficulty.easy_tail allows"
            return ("datasets", "no row") if self.use == "sft" and not self.sft_rows else None
        if removed is not None:
            like = f"like {removed.partner_problem_id}"
            if removed.reason == CONTAMINATED:
                like = f"contaminated with {removed.partner_task_id}, {removed.partner_problem_id}"
            return "cleaning", f"{removed.reason}: {removed.similarity:.0%} {like}"
        if reason:
            return _STAGE_OF_REASON.get(reason, "verification"), reason
        reason = next((row.reason for row in self.quarantined if row.index < 0), "not stored")
        return "datasets" if self.task else "tasks", reason


def find_task(found: Found) -> TracedTask | None:
    """What was found, in the run's synthesis; None where that knows nothing of it."""
    folder = found.run.result("synth")
    task = TracedTask(found, folder) if folder else None
    return task if task and (task.problem or task.task_id) else None


def trace_synthesis(traced: TracedTask) -> dict[str, object]:
    """All that the synthesis has about a task."""
    stage, reason = traced.drop or (None, None)
    report = traced.layout.decontamination
    return {
        "folder": str(traced.folder),
        "key": traced.folder.name,
        "task_id": traced.task_id,
        "other_tasks": [{"task_id": name, "cleaning": _removed(gone)} for name, gone in traced.other_tasks.items()],
        "task": _trace_task(traced),
        "teacher": _trace_teacher(traced),
        "quarantined": [
            {"about": "task" if row.index < 0 else f"candidate {row.index}", "reason": row.reason}
            for row in traced.quarantined
        ],
        "tests": _trace_tests(traced),
        "datasets": {"sft": traced.sft_rows, "rl": traced.rl_rows},
        "solutions": _trace_solutions(traced),
        "verification": None
        if traced.verdict is None
        else select(traced.verdict, "reason", "agreement", "golden", "golden_right", "limit_seconds"),
        "cleaning": {"removed": _removed(traced.removal), "compared_with": read_object(report).get("sets", [])},
        "outcome": {"kept": stage is None, "stage": stage, "reason": reason},
    }


def _trace_task(traced: TracedTask) -> dict[str, object]:
    """The task as it is stated, and what it was made from."""
    task, problem = traced.task, traced.problem or (traced.task.problem if traced.task else None)
    split = traced.membership.split if traced.membership else split_of(traced.task_id) if traced.task_id else None
    values: dict[str, object] = {"split": split, "use": traced.use}
    if problem is None:  # an import keeps the statement of what cleaning removes, and nothing else of it
        stated = columns(traced.folder / "work" / "stated.parquet", "problem_id", "statement")
        statement = next((row["statement"] for row in stated if row["problem_id"] == traced.problem_id), None)
        return values | {"statement": statement, "features": []}
    plan = json.loads(task.plan) if task and task.plan else {}
    made = task or traced.membership
    return {
        **values,
        "features": list(problem.features),
        "feature_uses": {path: use for path, use in plan.get("features", {}).items() if use},
        "subtree": plan.get("subtree"),
        "strategy": plan.get("strategy"),
        "pipeline": json.loads(task.pipeline) if task and task.pipeline else None,
        "depth": made.depth if made else None,
        "draws": task.draws if task else None,
        **select(problem, "style", "io", "function_name", "checker"),
        "limits": select(problem.limits, "seconds", "memory_mib"),
        **select(problem, "source", "statement"),
    }


def _trace_teacher(traced: TracedTask) -> dict[str, object]:
    """Who made the task, and what a language model was asked on the way: every question with its tokens."""
    questions = []
    for stage in ("tasks", "inputs", "solutions"):
        path, start = traced.tables.answers(stage), f"{traced.task_id}/"
        if traced.task_id is None or not path.exists():
            continue
        for answer in read_matching(path, Answer, "request_id", start, f"{start}\U0010ffff"):
            question, _, number = answer.request_id.removeprefix(start).rpartition("/")
            value = {"stage": stage, "question": question, "attempt": int(number) + 1}
            questions.append(value | select(answer, "finish_reason", "prompt_tokens", "completion_tokens"))
    return {"name": traced.task.problem.source if traced.task else None, "questions": questions}


def _trace_tests(traced: TracedTask) -> dict[str, object]:
    """The inputs and the labelled tests; of a dropped task as verification saw them."""
    made = _first(traced.of_task(traced.tables.inputs, TaskInputs)) or TaskInputs("", ())
    tests, verdict = traced.of_problem(traced.layout.tests, TestCase), traced.verdict
    weights: Sequence[int] = [test.weight for test in tests]
    origins: Counter[str] = Counter(test.origin for test in tests)
    agreements: Sequence[float] = [test.agreement for test in tests if test.agreement is not None]
    if verdict and made.inputs:
        weights, agreements = verdict.weights, verdict.agreements
        origins = Counter(made.origins[place] if made.origins else "generator" for place in verdict.tests)
    return {
        "inputs": len(made.inputs or tests),
        "refused": list(made.refused),
        "categories": Counter(made.categories),
        "programs": [name for name in ("generator", "validator", "brute_force") if getattr(made, name)],
        "labelled": len(weights),
        "origins": origins,
        "weights": {str(weight): count for weight, count in sorted(Counter(weights).items())},
        "agreement": {"least": min(agreements), "mean": sum(agreements) / len(agreements)} if agreements else None,
        "labels_right": verdict.labels_right if verdict else None,
    }


def _trace_solutions(traced: TracedTask) -> list[dict[str, object]]:
    """Every candidate, with what its program did and where it went.

    Those of an import are the solutions that it came with; nobody ran or judged them here.
    """
    sft_rows = {row["solution_index"]: row["row"] for row in traced.sft_rows}
    candidates, verdict = traced.of_task(traced.tables.candidates, Candidate), traced.verdict
    if not candidates:
        return [
            select(each, "index", "model") | {"fault": None, "sft_row": sft_rows.get(each.index)}
            for each in traced.of_problem(traced.layout.solutions, Solution)
        ]
    executions = {run.program: Counter(run.statuses) for run in traced.of_task(traced.tables.executions, Execution)}
    results = zip(verdict.candidates, verdict.passed, verdict.scores, strict=True) if verdict else ()
    judged = {index: (passed, score) for index, passed, score in results}
    tests = len(verdict.labels) if verdict else 0
    programs: dict[str, int] = {}
    values = []
    for candidate in candidates:
        index, fault = candidate.index, candidate.fault
        program = index if fault else programs.setdefault(candidate.code, index)
        passed, score = judged.get(index, (None, None))
        values.append(
            {
                **select(candidate, "index", "model", "fault"),
                "same_program_as": None if program == index else program,
                "runs": {} if fault else executions.get(program, {}),
                "passed": passed,
                "score": score,
                "golden": verdict is not None and index == verdict.golden,
                "accepted": passed == tests > 0,
                "sft_row": sft_rows.get(index),
            }
        )
    return values


def _removed(removal: Removal | None) -> dict[str, object] | None:
    if removal is None:
        return None
    like = {"like": removal.partner_problem_id, "like_task": removal.partner_task_id}
    return {"reason": removal.reason, **like, "similarity": removal.similarity}


def _first(records: Sequence[Record]) -> Record | None:
    """The only record, or None."""
    return records[0] if records else None


def _matching(path: Path, record_type: type[Record], column: str, value: str | None) -> list[Record]:
    return list(read_matching(path, record_type, column, value)) if value and path.exists() else []
