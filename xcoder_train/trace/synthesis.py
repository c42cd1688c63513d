"""What synthesis made of one task: features, teacher, tests, candidates, verification, cleaning, dataset rows."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from synth.cleaning import CONTAMINATED
from synth.execution import INFRASTRUCTURE_FAILURE
from synth.tables import Candidate, Execution, Quarantined, Removal, Task, TaskInputs, Verdict, WorkTables, split_of
from synth.verification import NO_INPUTS
from xcoder_train.core.generation.answered import Answer
from xcoder_train.core.layout import Membership, SynthLayout
from xcoder_train.core.problem import Problem, Solution, TestCase
from xcoder_train.core.records import read_matching
from xcoder_train.trace.find import Found, columns, read_json

Record = TypeVar("Record")

_STAGE_OF_REASON = {NO_INPUTS: "inputs", INFRASTRUCTURE_FAILURE: "execution"}


def trace_synthesis(found: Found, folder: Path) -> dict[str, Any] | None:
    """All that the synthesis in `folder` tells of the problem; None where it knows nothing of it."""
    layout, tables = SynthLayout(folder), WorkTables(folder)
    problems = _of_problem(layout.problems, Problem, found)
    if not problems and not found.task_ids:
        return None
    removals = {one.task_id: one for name in found.task_ids for one in _of_task(tables.removals, Removal, name)}
    kept = [name for name in found.task_ids if name not in removals]
    task_id = next(iter(kept or found.task_ids), None)
    told: dict[str, Any] = {"folder": str(folder), "key": folder.name, "task_id": task_id}
    told["other_tasks"] = [
        {"task_id": name, "cleaning": _removed(removals.get(name))} for name in found.task_ids if name != task_id
    ]
    tasks = _of_task(tables.tasks, Task, task_id)
    verdicts = _of_task(tables.verdicts, Verdict, task_id)
    problem = problems[0] if problems else tasks[0].problem if tasks else None
    members = _of_problem(layout.memberships, Membership, found)
    told["task"] = _task(problem, tasks, members, task_id, layout, found)
    told["teacher"] = _teacher(tables, tasks, task_id)
    told["quarantined"] = [
        {"about": "task" if one.index < 0 else f"candidate {one.index}", "reason": one.reason}
        for one in _of_task(tables.quarantine, Quarantined, task_id)
    ]
    tests = _of_problem(layout.tests, TestCase, found)
    told["tests"] = _tests(tests, _of_task(tables.inputs, TaskInputs, task_id), verdicts)
    told["datasets"] = _dataset_rows(layout, found)
    told["solutions"] = _solutions(tables, layout, task_id, verdicts, found, told["datasets"])
    told["verification"] = _verification(verdicts)
    told["cleaning"] = _cleaning(removals.get(task_id or ""), layout)
    told["outcome"] = _outcome(told, tasks, bool(problems))
    return told


def _task(
    problem: Problem | None,
    tasks: list[Task],
    members: list[Membership],
    task_id: str | None,
    layout: SynthLayout,
    found: Found,
) -> dict[str, Any]:
    split = members[0].split if members else split_of(task_id) if task_id else None
    told: dict[str, Any] = {"split": split, "use": members[0].use if members else tasks[0].use if tasks else None}
    if problem is None:  # an import keeps the statement of what cleaning removes, and nothing else of it
        stated = columns(layout.folder / "work" / "stated.parquet", "problem_id", "statement")
        statements = [row["statement"] for row in stated if row["problem_id"] == found.problem_id]
        return told | {"statement": statements[0] if statements else None, "features": []}
    plan = json.loads(tasks[0].plan) if tasks and tasks[0].plan else {}
    return told | {
        "features": list(problem.features),
        "feature_uses": {path: use for path, use in plan.get("features", {}).items() if use},
        "subtree": plan.get("subtree"),
        "strategy": plan.get("strategy"),
        "pipeline": json.loads(tasks[0].pipeline) if tasks and tasks[0].pipeline else None,
        "depth": tasks[0].depth if tasks else members[0].depth,
        "draws": tasks[0].draws if tasks else None,
        "style": problem.style,
        "io": problem.io,
        "function_name": problem.function_name,
        "checker": problem.checker,
        "limits": {"seconds": problem.limits.seconds, "memory_mib": problem.limits.memory_mib},
        "source": problem.source,
        "statement": problem.statement,
    }


def _teacher(tables: WorkTables, tasks: list[Task], task_id: str | None) -> dict[str, Any]:
    """Who made the task, and what a language model was asked on the way: every question with its tokens."""
    asked = []
    for stage in ("tasks", "inputs", "solutions"):
        path = tables.answers(stage)
        if task_id is None or not path.exists():
            continue
        for answer in read_matching(path, Answer, "request_id", f"{task_id}/", f"{task_id}/\U0010ffff"):
            question, _, attempt = answer.request_id.removeprefix(f"{task_id}/").rpartition("/")
            asked.append(
                {
                    "stage": stage,
                    "question": question,
                    "attempt": int(attempt) + 1,
                    "finish_reason": answer.finish_reason,
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.completion_tokens,
                }
            )
    return {"name": tasks[0].problem.source if tasks else None, "questions": asked}


def _tests(tests: list[TestCase], given: list[TaskInputs], verdicts: list[Verdict]) -> dict[str, Any]:
    """The inputs and the labelled tests; of a dropped task as verification saw them."""
    agreements = [test.agreement for test in tests if test.agreement is not None]
    weights, origins = [test.weight for test in tests], [test.origin for test in tests]
    if verdicts and given:
        agreements, weights = list(verdicts[0].agreements), list(verdicts[0].weights)
        origins = [given[0].origins[place] if given[0].origins else "generator" for place in verdicts[0].tests]
    return {
        "inputs": len(given[0].inputs) if given else len(tests),
        "refused": list(given[0].refused) if given else [],
        "categories": dict(Counter(given[0].categories)) if given else {},
        "programs": [name for name in ("generator", "validator", "brute_force") if given and getattr(given[0], name)],
        "labelled": len(weights),
        "origins": dict(Counter(origins)),
        "weights": {str(weight): count for weight, count in sorted(Counter(weights).items())},
        "agreement": {"least": min(agreements), "mean": sum(agreements) / len(agreements)} if agreements else None,
        "labels_right": verdicts[0].labels_right if verdicts else None,
    }


def _solutions(
    tables: WorkTables,
    layout: SynthLayout,
    task_id: str | None,
    verdicts: list[Verdict],
    found: Found,
    datasets: dict[str, Any],
) -> list[dict[str, Any]]:
    """Every candidate, with what its program did and where it went."""
    rows = {row["solution_index"]: row["row"] for row in datasets["sft"]}
    candidates = _of_task(tables.candidates, Candidate, task_id)
    if not candidates:  # an import has solutions that nobody judged here
        published = _of_problem(layout.solutions, Solution, found)
        return [{"index": s.index, "model": s.model, "fault": None, "sft_row": rows.get(s.index)} for s in published]
    runs = {one.program: one for one in _of_task(tables.executions, Execution, task_id)}
    verdict = verdicts[0] if verdicts else None
    judged = {}
    if verdict is not None:
        outcomes = zip(verdict.candidates, verdict.passed, verdict.scores, strict=True)
        judged = {index: (passed, score) for index, passed, score in outcomes}
    first: dict[str, int] = {}
    told = []
    for candidate in candidates:
        program = candidate.index if candidate.fault else first.setdefault(candidate.code, candidate.index)
        passed, score = judged.get(candidate.index, (None, None))
        told.append(
            {
                "index": candidate.index,
                "model": candidate.model,
                "fault": candidate.fault,
                "same_program_as": None if program == candidate.index else program,
                "runs": dict(Counter(runs[program].statuses)) if program in runs and not candidate.fault else {},
                "passed": passed,
                "score": score,
                "golden": verdict is not None and candidate.index == verdict.golden,
                "accepted": verdict is not None and passed == len(verdict.labels) > 0,
                "sft_row": rows.get(candidate.index),
            }
        )
    return told


def _verification(verdicts: list[Verdict]) -> dict[str, Any] | None:
    if not verdicts:
        return None
    (verdict,) = verdicts
    return {
        "reason": verdict.reason,
        "agreement": verdict.agreement,
        "golden": verdict.golden,
        "golden_right": verdict.golden_right,
        "limit_seconds": verdict.limit_seconds,
    }


def _cleaning(removal: Removal | None, layout: SynthLayout) -> dict[str, Any]:
    report = read_json(layout.decontamination) if layout.decontamination.exists() else {}
    return {"removed": _removed(removal), "compared_with": report.get("sets", [])}


def _removed(removal: Removal | None) -> dict[str, Any] | None:
    if removal is None:
        return None
    return {
        "reason": removal.reason,
        "like": removal.partner_problem_id,
        "like_task": removal.partner_task_id,
        "similarity": removal.similarity,
    }


def _dataset_rows(layout: SynthLayout, found: Found) -> dict[str, Any]:
    """Places of the problem's rows in the two datasets, from 0."""
    sft = columns(layout.dataset("sft") / "train.parquet", "problem_id", "solution_index", "rank", "is_golden")
    rl = columns(layout.dataset("rl") / "train.parquet", "problem_id")
    return {
        "sft": [
            {"row": number, **{name: row[name] for name in ("solution_index", "rank", "is_golden")}}
            for number, row in enumerate(sft)
            if row["problem_id"] == found.problem_id
        ],
        "rl": [number for number, row in enumerate(rl) if row["problem_id"] == found.problem_id],
    }


def _outcome(told: dict[str, Any], tasks: list[Task], is_kept: bool) -> dict[str, Any]:
    """Whether the task was kept, and otherwise at which stage and why it was dropped."""
    verification, removed = told["verification"], told["cleaning"]["removed"]
    if is_kept:
        use = told["task"]["use"]
        if use != "evaluation" and not told["datasets"][use]:
            reason = "too easy: beyond the share that synth.difficulty.easy_tail allows" if use == "rl" else "no row"
            return {"kept": False, "stage": "datasets", "reason": reason}
        return {"kept": True, "stage": None, "reason": None}
    if removed is not None:
        kind = "like" if removed["reason"] != CONTAMINATED else "contaminated with"
        named = removed["like"] if kind == "like" else f"{removed['like_task']}, {removed['like']}"
        reason = f"{removed['reason']}: {removed['similarity']:.0%} {kind} {named}"
        return {"kept": False, "stage": "cleaning", "reason": reason}
    if verification is not None and verification["reason"]:
        stage = _STAGE_OF_REASON.get(verification["reason"], "verification")
        return {"kept": False, "stage": stage, "reason": verification["reason"]}
    reason = next((one["reason"] for one in told["quarantined"] if one["about"] == "task"), "not stored")
    return {"kept": False, "stage": "tasks" if not tasks else "datasets", "reason": reason}


def _of_task(path: Path, record_type: type[Record], task_id: str | None) -> list[Record]:
    return list(_matching(path, record_type, "task_id", task_id))


def _of_problem(path: Path, record_type: type[Record], found: Found) -> list[Record]:
    return list(_matching(path, record_type, "problem_id", found.problem_id))


def _matching(path: Path, record_type: type[Record], column: str, value: str | None) -> Iterator[Record]:
    return read_matching(path, record_type, column, value) if value and path.exists() else iter(())
