"""A benchmark: problems, the tests that judge them, and the group of each problem for breakdowns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xcoder_core.errors import InputError
from xcoder_core.problem import Problem, TestCase


@dataclass(frozen=True)
class Benchmark:
    """Problems with their labelled tests. `group` maps each problem_id to the label under which it is broken down.

    Groups are shown in the order in which `group` first names them; `grouping` says what they are ("depth",
    "difficulty"). `description` is the one line that is printed beside every score. `breakdowns` are further groupings,
    as {"month": {problem_id: "2025-02"}}. `test_digests` is given where the tests stay in files: a digest of each
    problem's tests, which were checked when the files were read. `questions` holds, for LiveCodeBench, the official row
    of each problem without its tests. `files` are those that problems came from, `days` those of the first and the last
    contest, in ISO format.
    """

    name: str
    problems: list[Problem]
    tests: Mapping[str, tuple[TestCase, ...]]
    group: Mapping[str, str]
    grouping: str
    description: str
    breakdowns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    test_digests: Mapping[str, str] | None = None
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    days: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError(f"benchmark {self.name} holds no problem; expected at least one")
        for problem in self.problems if self.test_digests is None else ():
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
