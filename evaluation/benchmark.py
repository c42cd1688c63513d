"""A benchmark: problems with their tests and groups, and whether a model's training data was checked against them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

from xcoder_core.errors import InputError
from xcoder_core.files import sha256
from xcoder_core.problem import Problem, TestCase
from xcoder_core.stage import SynthLayout


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
                    f"benchmark {self.name}: problem {problem.problem_id} has no tests or a test without an output"
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


class Decontamination(TypedDict):
    """What is known of the data that a model was trained on: "checked", "held out" or "unknown", and that in words.

    Where it was checked: the names of the `sets`, what `check` was made, and how many tasks it `removed`.
    """

    status: str
    said: str
    sets: NotRequired[list[str]]
    check: NotRequired[dict[str, object]]
    removed: NotRequired[int]


def decontamination_status(synth_folder: Path | None, benchmark: Benchmark) -> Decontamination:
    """What is known of a model's training data with regard to a benchmark.

    `synth_folder` is the finished synthesis that the model was trained on, or None where this project did not train
    it. Its `decontamination.json` holds the `check` and the `sets` that were compared, each with its name, the
    hash of its file (`sha256`) and the training tasks that it removed. "checked" is a benchmark all of whose
    files are among the sets, by content, and all of whose contests lie within the days that were compared.
    """
    if synth_folder is None:
        return _unknown("the model was trained elsewhere, on data that is not known here")
    if benchmark.name == "heldout":
        return {"status": "held out", "said": "held out of the synthesis that the model was trained on"}
    path = SynthLayout(synth_folder).decontamination
    if not path.exists():
        return _unknown(f"the training data was not checked: {synth_folder} has no {path.name}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        check, days = record["check"], record["check"]["window"]
        sets = {str(item["name"]): (str(item["sha256"]), int(item["tasks_removed"])) for item in record["sets"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what synthesis writes of its decontamination: {error!r}") from error
    # Only files whose name is among those that were compared are hashed.
    missing = [file.name for file in benchmark.files if file.stem not in sets or sets[file.stem][0] != sha256(file)]
    if missing or not benchmark.files:
        return _unknown(
            f"the training data was checked against {', '.join(sets) or 'nothing'}, not against these files "
            f"({', '.join(missing) or benchmark.name})"
        )
    first, last = days
    if benchmark.days and ((first and benchmark.days[0] < first) or (last and last < benchmark.days[1])):
        return _unknown(f"the training data was checked against problems of {days}, not of all of {benchmark.days}")
    removed = sum(sets[file.stem][1] for file in benchmark.files)
    described = ", ".join(f"{name}: {value}" for name, value in check.items())
    sentence = f"the training data was checked ({described}); {removed} tasks like these problems were removed"
    return {"status": "checked", "said": sentence, "sets": list(sets), "check": check, "removed": removed}


def _unknown(reason: str) -> Decontamination:
    return {"status": "unknown", "said": reason}
