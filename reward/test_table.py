"""Labelled tests by problem, memory-mapped: training rows carry a problem_id and nothing of the tests."""

import random
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from reward.checker import Checker, LinesChecker, read_checker
from xcoder_core.errors import InputError
from xcoder_core.files import atomic_path
from xcoder_core.problem import Limits
from xcoder_core.records import read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import SynthLayout


@dataclass(frozen=True, slots=True)
class ProblemTests:
    """What judging a program for one problem takes."""

    inputs: tuple[str, ...]
    expected: tuple[str, ...]
    function_name: str | None = None
    limits: Limits = Limits()
    checker: Checker = LinesChecker()


class TestTable:
    """The tests of a finished synthesis. `cache` is an Arrow file that is made once and then mapped, not read.

    With `at_most`, each problem keeps that many tests, chosen from `seed` and the problem alone, so that every rollout
    of a group meets the same ones.
    """

    __test__ = False  # the name is the field's; pytest must not collect it

    def __init__(self, layout: SynthLayout, cache: Path, *, at_most: int | None, seed: int) -> None:
        import pyarrow

        if not cache.exists():
            with atomic_path(cache) as temporary:
                table = read_table(layout.tests, columns=["problem_id", "input", "expected"])
                with pyarrow.ipc.new_file(temporary, table.schema) as writer:
                    writer.write_table(table.combine_chunks())
        self._table = pyarrow.ipc.open_file(pyarrow.memory_map(str(cache))).read_all()
        self._rows: dict[str, tuple[int, int]] = {}  # where a problem's begin, and how many they are
        start = 0
        for problem_id, same in groupby(self._table.column("problem_id").to_pylist()):
            self._rows[problem_id] = start, sum(1 for _ in same)
            start += self._rows[problem_id][1]
        columns = ["problem_id", "function_name", "limits", "checker"]
        problems = read_table(layout.problems, columns=columns).to_pylist()
        self._problems = {
            row["problem_id"]: (row["function_name"], Limits(**row["limits"]), row["checker"]) for row in problems
        }
        self._at_most, self._seed = at_most, seed

    def __getitem__(self, problem_id: str) -> ProblemTests:
        """The tests of one problem, in order of their index."""
        if problem_id not in self._rows or problem_id not in self._problems:
            raise InputError(f"problem {problem_id} has no tests in the table; was the dataset made by another run?")
        start, count = self._rows[problem_id]
        rows = self._table.slice(start, count)  # `take` alone would first join all chunks of the table
        if self._at_most is not None and len(rows) > self._at_most:
            pick = random.Random(derive_seed(self._seed, "reward", "tests", problem_id))
            rows = rows.take(sorted(pick.sample(range(len(rows)), self._at_most)))
        function_name, limits, checker = self._problems[problem_id]
        return ProblemTests(
            tuple(rows.column("input").to_pylist()),
            tuple(rows.column("expected").to_pylist()),
            function_name,
            limits,
            read_checker(checker),
        )
