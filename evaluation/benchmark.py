"""A benchmark: problems, the tests that judge them, and the group of each problem for breakdowns."""

from collections.abc import Mapping
from dataclasses import dataclass

from xcoder_train.core.errors import InputError
from xcoder_train.core.problem import Problem, TestCase


@dataclass(frozen=True)
class Benchmark:
    """Problems with their labelled tests. `group` maps each problem_id to the label under which it is broken down.

    Groups are shown in the order in which `group` first names them; `grouping` says what they are ("depth",
    "difficulty"). `description` is the one line that is printed beside every score.
    """

    name: str
    problems: list[Problem]
    tests: Mapping[str, tuple[TestCase, ...]]
    group: Mapping[str, str]
    grouping: str
    description: str

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError(f"benchmark {self.name} holds no problem; expected at least one")
        for problem in self.problems:
            tests = self.tests.get(problem.problem_id, ())
            if not tests or any(test.expected is None for test in tests):
                raise InputError(
                    f"benchmark {self.name}: problem {problem.problem_id} has no tests or a test without an expected "
                    "output; every problem needs at least one labelled test, or a wrong program could pass"
                )
        if len(self.by_id) < len(self.problems):
            raise InputError(f"benchmark {self.name} holds one problem twice; each must be there once")

    @property
    def by_id(self) -> dict[str, Problem]:
        """The problems by problem_id."""
        return {problem.problem_id: problem for problem in self.problems}

    @property
    def groups(self) -> list[str]:
        """The group labels in the order in which they are shown."""
        return list(dict.fromkeys(self.group[problem.problem_id] for problem in self.problems))
