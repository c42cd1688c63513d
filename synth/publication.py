"""The stage that writes what later stages read: problems, tests, solutions, memberships, and the datasets."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from synth.config import DifficultySettings, SynthSettings
from synth.tables import Candidate, Quarantined, Removal, Task, TaskInputs, Verdict, WorkTables
from xcoder_core.models.prompt import PromptStyle, render_prompt
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_records, write_records
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import Membership, SynthLayout
from xcoder_core.terminal import Progress


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

    `pass_rate` and `difficulty` are those of `SftRow`. A problem is `solvable` where some candidate passed every test;
    others are kept only with `drop_unsolved: false`. All three are None where the problem was imported.
    """

    problem_id: str
    style: str
    depth: int
    prompt: tuple[ChatMessage, ...]
    pass_rate: float | None
    difficulty: str | None
    solvable: bool | None


ROWS: dict[str, tuple[type[SftRow | RlRow], tuple[str, ...]]] = {
    "sft": (SftRow, ("problem_id", "rank")),
    "rl": (RlRow, ("problem_id",)),
}
"""By use: the record of a dataset's row, and its key."""


def publish_tables(tables: WorkTables, layout: SynthLayout) -> None:
    """Write the tables of kept problems that are not there yet, each in one pass over what was verified."""
    _write_quarantine(tables)
    with Progress("datasets", 4, "tables") as progress:
        for path, record_type, key, records_of in (
            (layout.problems, Problem, ("problem_id",), _problems),
            (layout.tests, TestCase, ("problem_id", "index"), _tests),
            (layout.solutions, Solution, ("problem_id", "index"), _solutions),
            (layout.memberships, Membership, ("problem_id",), _memberships),
        ):
            if not path.exists():
                records = (record for kept in kept_tasks(tables) for record in records_of(kept))
                write_records(path, record_type, records, key)
            path.with_suffix(".journal").unlink(missing_ok=True)  # of a version that wrote one, and was killed
            progress.advance()


def publish_datasets(
    settings: SynthSettings, tables: WorkTables, layout: SynthLayout, prompt_style: PromptStyle, seed: int
) -> dict[str, int]:
    """Write `datasets/sft` and `datasets/rl`, each where a split has that use, and return how many rows each has."""
    import pyarrow.parquet

    maker = RowMaker(settings, prompt_style, seed)
    written = {}
    for use, (record_type, key) in ROWS.items():
        if all(split.use != use for split in settings.splits.values()):
            continue
        left_out = _beyond_the_tail(tables, settings, seed) if use == "rl" else set()
        rows = (
            row
            for kept in kept_tasks(tables, use)
            if kept.verdict.problem_id not in left_out
            for row in maker.rows(use, kept.task.problem, kept.task.depth, kept.accepted, kept.pass_rate)
        )
        path = write_records(layout.dataset(use) / "train.parquet", record_type, rows, key)
        written[use] = pyarrow.parquet.read_metadata(path).num_rows
    return written


@dataclass(frozen=True)
class RowMaker:
    """From problems to the rows of the datasets."""

    settings: SynthSettings
    prompt_style: PromptStyle
    seed: int

    def rows(
        self, use: str, problem: Problem, depth: int, solutions: Sequence[Solution], pass_rate: float | None
    ) -> Iterator[SftRow | RlRow]:
        """The row for rollouts; or one for each distinct program: golden first, then in an order by seed, so that fewer
        are a part of more. `pass_rate` is None where it is not known.
        """
        identity = problem.problem_id
        prompt = tuple(ChatMessage(**message) for message in render_prompt(problem, self.prompt_style))
        difficulty = problem.difficulty if pass_rate is None else self.settings.difficulty.bin_of(pass_rate)
        if use == "rl":
            solvable = None if pass_rate is None else pass_rate > 0
            yield RlRow(identity, problem.style, depth, prompt, pass_rate, difficulty, solvable)
            return
        ordered = sorted(solutions, key=lambda s: (not s.is_golden, derive_seed(self.seed, "rank", identity, s.index)))
        distinct: dict[str, Solution] = {}
        for solution in ordered:
            distinct.setdefault(solution.code, solution)
        for rank, solution in enumerate(list(distinct.values())[: self.settings.solutions_per_task]):
            yield SftRow(
                problem_id=identity,
                solution_index=solution.index,
                rank=rank,
                style=problem.style,
                depth=depth,
                is_golden=solution.is_golden,
                pass_rate=pass_rate,
                difficulty=difficulty,
                prompt=prompt,
                completion=(ChatMessage("assistant", solution.response),),
            )


def _write_quarantine(tables: WorkTables) -> None:
    if tables.quarantine.exists():
        return

    def quarantined() -> Iterator[Quarantined]:
        for path in (tables.set_aside("tasks"), tables.set_aside("inputs"), tables.failures):
            yield from read_records(path, Quarantined)
        for task, candidates in tables.by_task("candidates"):
            for candidate in candidates:
                if candidate.fault is not None:
                    yield Quarantined(task.task_id, candidate.index, task.split, candidate.fault, candidate.response)

    write_records(tables.quarantine, Quarantined, quarantined(), ("task_id", "index"))


@dataclass(frozen=True, slots=True)
class KeptTask:
    """A task that verification and cleaning kept, and what was made for it."""

    task: Task
    given: TaskInputs
    candidates: list[Candidate]
    verdict: Verdict

    @property
    def accepted(self) -> list[Solution]:
        """The solutions that pass every labelled test."""
        return [solution for solution in _solutions(self) if solution.passed == len(self.verdict.tests)]

    @property
    def pass_rate(self) -> float:
        """The share of all candidates that pass every labelled test."""
        return sum(passed == len(self.verdict.tests) for passed in self.verdict.passed) / len(self.candidates)


def kept_tasks(tables: WorkTables, use: str | None = None) -> Iterator[KeptTask]:
    """Every kept task, or those of one use, in the order of task ids."""
    removed = {removal.task_id for removal in read_records(tables.removals, Removal)}
    for task, (given,), candidates, (verdict,) in tables.by_task("inputs", "candidates", "verdicts"):
        if verdict.reason is None and verdict.task_id not in removed and use in (None, task.use):
            yield KeptTask(task, given, candidates, verdict)


def _problems(kept: KeptTask) -> Iterator[Problem]:
    problem, seconds = kept.task.problem, kept.verdict.limit_seconds
    yield problem if seconds is None else replace(problem, limits=replace(problem.limits, seconds=seconds))


def _memberships(kept: KeptTask) -> Iterator[Membership]:
    yield Membership(kept.verdict.problem_id, kept.task.split, kept.task.use, kept.task.depth)


def _tests(kept: KeptTask) -> Iterator[TestCase]:
    verdict, given = kept.verdict, kept.given
    labelled = zip(verdict.tests, verdict.labels, verdict.weights, verdict.agreements, strict=True)
    for index, (place, label, weight, agreement) in enumerate(labelled):
        origin = given.origins[place] if given.origins else "generator"
        yield TestCase(verdict.problem_id, index, given.inputs[place], label, origin, weight, agreement)


def _solutions(kept: KeptTask) -> Iterator[Solution]:
    verdict = kept.verdict
    by_index = {candidate.index: candidate for candidate in kept.candidates}
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


def _beyond_the_tail(tables: WorkTables, settings: SynthSettings, seed: int) -> set[str]:
    """The problems for rollouts that are left out of the dataset."""
    difficulty = settings.difficulty
    if difficulty.easy_tail == 1:
        return set()
    bins = {kept.verdict.problem_id: difficulty.bin_of(kept.pass_rate) for kept in kept_tasks(tables, "rl")}
    easy = [identity for identity, name in bins.items() if name == next(iter(difficulty.bins))]
    return beyond_the_tail(easy, len(bins) - len(easy), difficulty, seed)


def beyond_the_tail(easy: Sequence[str], others: int, settings: DifficultySettings, seed: int) -> set[str]:
    """Which of the easy problems (by id) are more than the tail may hold beside so many others, drawn by seed."""
    if settings.easy_tail == 1:
        return set()
    room = math.floor(settings.easy_tail * others / (1 - settings.easy_tail) + 1e-9)
    order = sorted(easy, key=lambda problem_id: derive_seed(seed, "easy tail", problem_id))
    return set(order[room:])
