"""The stage that writes what later stages read: problems, tests, solutions, memberships, and the datasets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from synth.config import DifficultySettings, SynthSettings
from synth.tables import Candidate, Quarantined, Removal, Task, TaskInputs, Verdict, WorkTables, beside
from xcoder_core.layout import Membership, SynthLayout
from xcoder_core.models.prompt import PromptStyle, render_prompt
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records, write_records
from xcoder_core.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class SftRow:
    """One accepted solution as a conversation. `rank` orders the solutions of a problem: golden first, then shuffled.

    The rows with a rank below k are the same whatever the number of solutions per task, so ablations nest.
    `pass_rate` is the share of all candidates that passed every test, and `difficulty` the bin that it falls into; both
    are None where the solution was imported.
    """

    problem_id: str
    solution_index: int
    rank: int
    style: str
    depth: int
    is_golden: bool
    pass_rate: float | None
    difficulty: str | None
    prompt: tuple[ChatMessage, ...]
    completion: tuple[ChatMessage, ...]


@dataclass(frozen=True, slots=True)
class RlRow:
    """One problem to be solved by rollouts; its tests stay in the tests table.

    `pass_rate` is the share of all candidates that passed every test, and `difficulty` the bin that it falls into; a
    problem is `solvable` where some candidate passed every test; others are kept only with `drop_unsolved: false`. All
    three are None where the problem was imported, which says nothing of candidates.
    """

    problem_id: str
    style: str
    depth: int
    prompt: tuple[ChatMessage, ...]
    pass_rate: float | None
    difficulty: str | None
    solvable: bool | None


def publish_tables(tables: WorkTables, layout: SynthLayout, total_tasks: int) -> None:
    """Write the tables of kept problems. Derived in one pass, so what a kill left unsealed is derived again."""
    _write_quarantine(tables)
    paths = (layout.problems, layout.tests, layout.solutions, layout.memberships)
    for path in paths:
        path.with_suffix(".journal").unlink(missing_ok=True)
    if all(path.exists() for path in paths):
        return
    problems = RecordStore(layout.problems, Problem, ("problem_id",))
    tests = RecordStore(layout.tests, TestCase, ("problem_id", "index"))
    solutions = RecordStore(layout.solutions, Solution, ("problem_id", "index"))
    memberships = RecordStore(layout.memberships, Membership, ("problem_id",))
    removed = {removal.task_id for removal in read_records(tables.removals, Removal)}
    rows = beside(
        read_records(tables.tasks, Task),
        read_records(tables.inputs, TaskInputs),
        read_records(tables.candidates, Candidate),
        read_records(tables.verdicts, Verdict),
    )
    with Progress("datasets", total_tasks, "tasks") as progress:
        for task, (given,), candidates, (verdict,) in rows:
            if verdict.reason is None and verdict.task_id not in removed:
                identity = verdict.problem_id
                if not problems.is_sealed:
                    problems.append(_problem(task, verdict))
                if not tests.is_sealed:
                    tests.extend(_tests(verdict, given))
                if not solutions.is_sealed:
                    solutions.extend(_solutions(verdict, candidates))
                if not memberships.is_sealed:
                    memberships.append(Membership(identity, task.split, task.use, task.depth))
            progress.advance(1)
    for store in (problems, tests, solutions, memberships):
        store.seal()


def publish_datasets(
    settings: SynthSettings, layout: SynthLayout, prompt_style: PromptStyle, seed: int
) -> dict[str, int]:
    """Write `datasets/sft` and `datasets/rl`, each where a split has that use, and return how many rows each has."""
    import pyarrow.parquet

    uses = {split.use for split in settings.splits.values()}
    written = {}
    if "sft" in uses:
        sft_rows = _sft_rows(layout, settings, prompt_style, seed)
        written["sft"] = write_records(
            layout.dataset("sft") / "train.parquet", SftRow, sft_rows, ("problem_id", "rank")
        )
    if "rl" in uses:
        rl_rows = _rl_rows(layout, settings, prompt_style, seed)
        written["rl"] = write_records(layout.dataset("rl") / "train.parquet", RlRow, rl_rows, ("problem_id",))
    return {use: pyarrow.parquet.read_metadata(path).num_rows for use, path in written.items()}


@dataclass(frozen=True, slots=True)
class KeptProblem:
    """A problem with all that is known of it."""

    problem: Problem
    membership: Membership
    tests: int
    solutions: list[Solution]

    @property
    def accepted(self) -> list[Solution]:
        """The solutions that pass every labelled test."""
        return [solution for solution in self.solutions if solution.passed == self.tests]

    def pass_rate(self, asked: int) -> float:
        """The share of the candidates asked for that pass every labelled test."""
        return len(self.accepted) / asked


def kept_problems(layout: SynthLayout) -> Iterator[KeptProblem]:
    """Stream the published tables side by side, in the order of problem ids."""
    tests = groupby(read_records(layout.tests, TestCase), key=lambda test: test.problem_id)
    solutions = groupby(read_records(layout.solutions, Solution), key=lambda solution: solution.problem_id)
    problems, memberships = read_records(layout.problems, Problem), read_records(layout.memberships, Membership)
    for problem, membership in zip(problems, memberships, strict=True):
        (tested, cases), (solved, candidates) = next(tests), next(solutions)
        if not problem.problem_id == membership.problem_id == tested == solved:
            raise RuntimeError(f"the published tables disagree at problem {problem.problem_id}")
        yield KeptProblem(problem, membership, sum(1 for _ in cases), list(candidates))


def _write_quarantine(tables: WorkTables) -> None:
    if tables.quarantine.exists():
        return

    def quarantined() -> Iterator[Quarantined]:
        for path in (tables.set_aside("tasks"), tables.set_aside("inputs"), tables.failures):
            yield from read_records(path, Quarantined)
        for task, candidates in beside(read_records(tables.tasks, Task), read_records(tables.candidates, Candidate)):
            for candidate in candidates:
                if candidate.fault is not None:
                    yield Quarantined(task.task_id, candidate.index, task.split, candidate.fault, candidate.response)

    write_records(tables.quarantine, Quarantined, quarantined(), ("task_id", "index"))


def _problem(task: Task, verdict: Verdict) -> Problem:
    if verdict.limit_seconds is None:
        return task.problem
    return replace(task.problem, limits=replace(task.problem.limits, seconds=verdict.limit_seconds))


def _tests(verdict: Verdict, given: TaskInputs) -> Iterator[TestCase]:
    labelled = zip(verdict.tests, verdict.labels, verdict.weights, verdict.agreements, strict=True)
    for index, (place, label, weight, agreement) in enumerate(labelled):
        text = given.inputs[place]
        origin = given.origins[place] if given.origins else "generator"
        yield TestCase(verdict.problem_id, index, text, label, origin, weight, agreement)


def _solutions(verdict: Verdict, candidates: list[Candidate]) -> Iterator[Solution]:
    by_index = {candidate.index: candidate for candidate in candidates}
    for index, passed, score in zip(verdict.candidates, verdict.passed, verdict.scores, strict=True):
        candidate = by_index[index]
        yield Solution(
            problem_id=verdict.problem_id,
            index=index,
            code=candidate.code,
            response=candidate.response,
            model=candidate.model,
            passed=passed,
            score=score,
            is_golden=index == verdict.golden,
        )


def _sft_rows(layout: SynthLayout, settings: SynthSettings, prompt_style: PromptStyle, seed: int) -> Iterator[SftRow]:
    for kept in kept_problems(layout):
        if kept.membership.use != "sft":
            continue
        identity = kept.problem.problem_id
        ordered = sorted(kept.accepted, key=lambda s: (not s.is_golden, derive_seed(seed, "rank", identity, s.index)))
        distinct: dict[str, Solution] = {}
        for solution in ordered:
            distinct.setdefault(solution.code, solution)
        prompt = chat_messages(render_prompt(kept.problem, prompt_style))
        pass_rate = kept.pass_rate(settings.candidates_per_task)
        for rank, solution in enumerate(list(distinct.values())[: settings.solutions_per_task]):
            completion = (ChatMessage("assistant", solution.response),)
            yield SftRow(
                problem_id=identity,
                solution_index=solution.index,
                rank=rank,
                style=kept.problem.style,
                depth=kept.membership.depth,
                is_golden=solution.is_golden,
                pass_rate=pass_rate,
                difficulty=difficulty_of(pass_rate, settings.difficulty),
                prompt=prompt,
                completion=completion,
            )


def _rl_rows(layout: SynthLayout, settings: SynthSettings, prompt_style: PromptStyle, seed: int) -> Iterator[RlRow]:
    left_out = _too_easy(layout, settings, seed)
    for kept in kept_problems(layout):
        if kept.membership.use == "rl" and kept.problem.problem_id not in left_out:
            pass_rate = kept.pass_rate(settings.candidates_per_task)
            yield RlRow(
                problem_id=kept.problem.problem_id,
                style=kept.problem.style,
                depth=kept.membership.depth,
                prompt=chat_messages(render_prompt(kept.problem, prompt_style)),
                pass_rate=pass_rate,
                difficulty=difficulty_of(pass_rate, settings.difficulty),
                solvable=bool(kept.accepted),
            )


def _too_easy(layout: SynthLayout, settings: SynthSettings, seed: int) -> set[str]:
    """The problems that the RL dataset leaves out, by id."""
    difficulty = settings.difficulty
    if difficulty.easy_tail == 1:
        return set()
    easy: list[str] = []
    others = 0
    for kept in kept_problems(layout):
        if kept.membership.use == "rl":
            if difficulty_of(kept.pass_rate(settings.candidates_per_task), difficulty) == next(iter(difficulty.bins)):
                easy.append(kept.problem.problem_id)
            else:
                others += 1
    return beyond_the_tail(easy, others, difficulty, seed)


def difficulty_of(pass_rate: float, settings: DifficultySettings) -> str:
    """The bin of a problem."""
    return next(name for name, least in settings.bins.items() if pass_rate >= least)


def beyond_the_tail(easy: Sequence[str], others: int, settings: DifficultySettings, seed: int) -> set[str]:
    """Which of the easy problems (by id) are more than the tail may hold beside so many others, drawn by seed."""
    if settings.easy_tail == 1:
        return set()
    room = math.floor(settings.easy_tail * others / (1 - settings.easy_tail) + 1e-9)
    order = sorted(easy, key=lambda problem_id: derive_seed(seed, "easy tail", problem_id))
    return set(order[room:])


def chat_messages(messages: list[dict[str, str]]) -> tuple[ChatMessage, ...]:
    """Messages as the datasets hold them."""
    return tuple(ChatMessage(message["role"], message["content"]) for message in messages)
