"""What synthesis made of one task: features, teacher, tests, candidates, verification, cleaning, dataset rows."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
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
from xcoder_train.trace.page import Page, counted, form, listed

Record = TypeVar("Record")

_QUESTIONS = 8
"""How many questions to a teacher the page lists; --json has them all."""

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


def trace_synthesis(traced: TracedTask, page: Page) -> dict[str, object]:
    """All that the synthesis has about a task."""
    stage, reason = traced.drop or (None, None)
    page.row("outcome", f"dropped at {stage}: {reason}" if stage else "kept")
    return {
        "folder": str(traced.folder),
        "key": traced.folder.name,
        "task_id": traced.task_id,
        "other_tasks": [{"task_id": name, "cleaning": _removed(gone)} for name, gone in traced.other_tasks.items()],
        "task": _trace_task(traced, page),
        "teacher": _trace_teacher(traced, page),
        "quarantined": _trace_quarantine(traced, page),
        "tests": _trace_tests(traced, page),
        "datasets": {"sft": traced.sft_rows, "rl": traced.rl_rows},
        "solutions": _trace_solutions(traced, page),
        "verification": _trace_verification(traced, page),
        "cleaning": _trace_cleaning(traced, page),
        "outcome": {"kept": stage is None, "stage": stage, "reason": reason},
    }


def _trace_task(traced: TracedTask, page: Page) -> dict[str, object]:
    """The task as it is stated, and what it was made from."""
    task, problem = traced.task, traced.problem or (traced.task.problem if traced.task else None)
    features = problem.features if problem else ()
    plan = json.loads(task.plan) if task and task.plan else {}
    uses = {path: use for path, use in plan.get("features", {}).items() if use}
    page.title("features")
    for number, path in enumerate(features, start=1):
        page.row(str(number), path + (f" ({uses[path]})" if path in uses else ""))
    page.row("", None if features else "none are stored")
    page.row("strategy", plan.get("strategy") or None)
    page.row("chosen from", f"a subtree of {len(plan['subtree'])} features" if plan.get("subtree") else None)

    split = traced.membership.split if traced.membership else split_of(traced.task_id) if traced.task_id else None
    values: dict[str, object] = {"split": split, "use": traced.use}
    page.title("task", traced.task_id)
    page.row("split", f"{split}{f', for {traced.use}' if traced.use else ''}; synthesis {traced.folder.name}")
    if problem is None:  # an import keeps the statement of what cleaning removes, and nothing else of it
        stated = columns(traced.folder / "work" / "stated.parquet", "problem_id", "statement")
        statement = next((row["statement"] for row in stated if row["problem_id"] == traced.problem_id), None)
        page.statement(statement)
        return values | {"statement": statement, "features": []}
    limits, made = problem.limits, task or traced.membership
    pipeline = json.loads(task.pipeline) if task and task.pipeline else None
    page.row("form", f"{form(problem)}; checker {problem.checker}; {limits.seconds:g} s, {limits.memory_mib} MiB")
    if task and task.draws:
        draws = "" if pipeline is None else f", {task.draws} draw{'s' * (task.draws > 1)}"
        page.row("depth", f"{task.depth}{draws}")
    page.statement(problem.statement)
    values |= {"features": list(features), "feature_uses": uses}
    values |= {"subtree": plan.get("subtree"), "strategy": plan.get("strategy")}
    values |= {"pipeline": pipeline, "depth": made.depth if made else None, "draws": task.draws if task else None}
    values |= select(problem, "style", "io", "function_name", "checker")
    values["limits"] = select(limits, "seconds", "memory_mib")
    return values | select(problem, "source", "statement")


def _trace_teacher(traced: TracedTask, page: Page) -> dict[str, object]:
    """Who made the task, and what a language model was asked on the way: every question with its tokens."""
    name = traced.task.problem.source if traced.task else None
    source = traced.problem.source if traced.problem else ""
    page.row("teacher", name or f"not known; imported as {source or 'a row'}")
    questions, lines = [], defaultdict(list)
    asked = answered = 0
    for stage in ("tasks", "inputs", "solutions"):
        path, start = traced.tables.answers(stage), f"{traced.task_id}/"
        if traced.task_id is None or not path.exists():
            continue
        for answer in read_matching(path, Answer, "request_id", start, f"{start}\U0010ffff"):
            question, _, number = answer.request_id.removeprefix(start).rpartition("/")
            value = {"stage": stage, "question": question, "attempt": int(number) + 1}
            questions.append(value | select(answer, "finish_reason", "prompt_tokens", "completion_tokens"))
            asked, answered = asked + answer.prompt_tokens, answered + answer.completion_tokens
            again = f" (try {int(number) + 1})" if int(number) else ""
            lines[stage].append(f"{question}{again} {answer.prompt_tokens:,}+{answer.completion_tokens:,}")
    if questions:
        page.row("asked", f"{len(questions)} times; {asked:,} prompt tokens, {answered:,} completion tokens")
    for stage, each in lines.items():
        page.row(f"  {stage}", listed(each, _QUESTIONS))
    return {"name": name, "questions": questions}


def _trace_quarantine(traced: TracedTask, page: Page) -> list[dict[str, object]]:
    """Which tasks state the same problem, and what was set aside of this one."""
    for name, removal in traced.other_tasks.items():
        page.row("also made", f"{name}, {removal.reason if removal else 'kept'}")
    values: list[dict[str, object]] = []
    for row in traced.quarantined:
        about = "task" if row.index < 0 else f"candidate {row.index}"
        values.append({"about": about, "reason": row.reason})
        page.row("quarantined", f"{about}: {row.reason}")
    return values


def _trace_tests(traced: TracedTask, page: Page) -> dict[str, object]:
    """The inputs and the labelled tests; of a dropped task as verification saw them."""
    made = _first(traced.of_task(traced.tables.inputs, TaskInputs)) or TaskInputs("", ())
    tests, verdict = traced.of_problem(traced.layout.tests, TestCase), traced.verdict
    weights: Sequence[int] = [test.weight for test in tests]
    origins: Counter[str] = Counter(test.origin for test in tests)
    agreements: Sequence[float] = [test.agreement for test in tests if test.agreement is not None]
    if verdict and made.inputs:
        weights, agreements = verdict.weights, verdict.agreements
        origins = Counter(made.origins[place] if made.origins else "generator" for place in verdict.tests)
    inputs, categories, labelled = len(made.inputs or tests), Counter(made.categories), len(weights)
    programs = [name for name in ("generator", "validator", "brute_force") if getattr(made, name)]
    by_weight = {str(weight): count for weight, count in sorted(Counter(weights).items())}
    agreement = {"least": min(agreements), "mean": sum(agreements) / len(agreements)} if agreements else None
    right = verdict.labels_right if verdict else None
    page.title("tests")
    if inputs or made.refused:
        page.row("inputs", f"{inputs:,}{counted(categories, ': ')}")
        page.row("made by", ", ".join(programs).replace("_", " ") or None)
        page.row("refused", f"{len(made.refused)}: {listed(made.refused, 3)}" if made.refused else None)
        known = "" if right is None or not labelled else f"; {right} right, as the teacher knows the truth"
        page.row("labelled", f"{labelled:,}{counted(origins, ': ')}{known}")
        page.row("weights", ", ".join(f"{count} of weight {weight}" for weight, count in by_weight.items()) or None)
        page.row("agreement", "mean {mean:.0%}, least {least:.0%}".format(**agreement) if agreement else None)
    else:
        page.row("", "none")
    values = {"inputs": inputs, "refused": list(made.refused), "categories": categories, "programs": programs}
    values |= {"labelled": labelled, "origins": origins, "weights": by_weight}
    return values | {"agreement": agreement, "labels_right": right}


def _trace_solutions(traced: TracedTask, page: Page) -> list[dict[str, object]]:
    """Every candidate, with what its program did and where it went.

    Those of an import are the solutions that it came with; nobody ran or judged them here.
    """
    candidates, verdict = traced.of_task(traced.tables.candidates, Candidate), traced.verdict
    if is_import := not candidates:
        imported = traced.of_problem(traced.layout.solutions, Solution)
        candidates = [Candidate("", each.index, each.model, "", each.code, None) for each in imported]
    executions = {run.program: Counter(run.statuses) for run in traced.of_task(traced.tables.executions, Execution)}
    results = zip(verdict.candidates, verdict.passed, verdict.scores, strict=True) if verdict else ()
    judged = {index: (passed, score) for index, passed, score in results}
    tests = len(verdict.labels) if verdict else 0
    sft_rows = {row["solution_index"]: row["row"] for row in traced.sft_rows}
    programs: dict[str, int] = {}
    values = []
    page.title("solutions")
    page.row("", None if candidates else "none are stored")
    for candidate in candidates:
        index, fault, sft_row = candidate.index, candidate.fault, sft_rows.get(candidate.index)
        program = index if fault or is_import else programs.setdefault(candidate.code, index)
        runs: Mapping[str, int] = {} if fault else executions.get(program, {})
        passed, score = judged.get(index, (None, None))
        is_golden = verdict is not None and index == verdict.golden
        is_accepted = passed == tests > 0
        value = select(candidate, "index", "model", "fault")
        if not is_import:
            value |= {"same_program_as": None if program == index else program, "runs": runs}
            value |= {"passed": passed, "score": score, "golden": is_golden, "accepted": is_accepted}
        values.append(value | {"sft_row": sft_row})
        accepted = ", accepted" if is_accepted else ""
        parts = [
            f"the same program as #{program}" if program != index else f"runs {counted(runs)}" if runs else "",
            f"passed {passed} of {tests}, score {score:.2f}{accepted}" if passed is not None and tests else "",
            "golden" if is_golden else "",
            "" if sft_row is None else f"row {sft_row:,} of the SFT dataset",
            f"by {candidate.model}" if passed is None and not runs else "",
        ]
        page.row(f"#{index}", f"quarantined: {fault}" if fault else "; ".join(filter(None, parts)))
    return values


def _trace_verification(traced: TracedTask, page: Page) -> dict[str, object] | None:
    """Which candidate was elected, and whether the task was kept."""
    verdict = traced.verdict
    if verdict is None:
        return None
    right = {None: "", True: ", which is right", False: ", which is wrong"}[verdict.golden_right]
    page.row("golden", "none elected" if verdict.golden is None else f"#{verdict.golden}{right}")
    if verdict.limit_seconds is not None:
        page.row("time limit", f"{verdict.limit_seconds:g} s, calibrated on the golden solution")
    decision = f"dropped: {verdict.reason}" if verdict.reason else "kept"
    page.row("verification", f"{decision}; agreement {verdict.agreement:.0%}")
    return select(verdict, "reason", "agreement", "golden", "golden_right", "limit_seconds")


def _trace_cleaning(traced: TracedTask, page: Page) -> dict[str, object]:
    """Whether the task was removed as a duplicate, and which evaluation sets it was compared with."""
    removal, report = traced.removal, traced.layout.decontamination
    sets = read_object(report).get("sets", [])
    page.title("cleaning")
    if removal is not None:
        like = f"{removal.similarity:.0%} of {removal.partner_task_id}, {removal.partner_problem_id}"
        page.row("removed", f"{removal.reason}: {like}")
    elif (traced.verdict and traced.verdict.reason) or (traced.drop and traced.drop[0] == "tasks"):
        page.row("", "not reached")
    else:
        page.row("", "not a duplicate of an earlier task")
    if sets:
        where = "found in one" if removal and removal.reason == CONTAMINATED else "in none of them"
        page.row("compared with", f"{', '.join(each['name'] for each in sets)}: {where}")
    return {"removed": _removed(removal), "compared_with": sets}


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
