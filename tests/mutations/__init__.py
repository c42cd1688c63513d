"""Would the tests notice? Break the project in one place, and some named test must fail.

    python -m tests.mutations                  # all of them
    python -m tests.mutations judge            # one table
    python -m tests.mutations judge:no-retry   # one mutation

A table is a YAML file in this folder, `judge.yaml` for the judge, and holds a list of mutations:

    - name: no-retry                  # unique in its table
      why: a worker that dies would make its program IE at once
      file: reward/judge.py           # from the project's root
      old: "ATTEMPTS = 2"             # stands in the file exactly once, else the mutation is out of date: an error
      new: "ATTEMPTS = 1"
      tests:                          # files, tests, or tests with parameters, as pytest takes them
        - tests/reward/test_judge_processes.py::test_killed_zygotes_lose_and_double_no_verdict
      slow: true                      # where the named tests carry the marker `slow`; else left out

Each mutation is made in a copy of the project, whose named tests then run in a process of their own. They must fail:
pytest's exit status 1. That they pass without the mutation is shown first. Anything else is an error of the table: a
test that cannot be collected, none that is chosen, only skipped ones, a crash, or a run that does not end in time.
Name few and fast tests: those that are there for this very promise.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent
FIELDS = {"name", "why", "file", "old", "new", "tests"}
COPIED = (
    "pyproject.toml",
    "xcoder_core",
    "xcoder_train",
    "reward",
    "synth",
    "evaluation",
    "recipes",
    "benchmarks",
    "docs",
    "tests",
)
TIMEOUT_SECONDS = 300.0
PASSED, FAILED = 0, 1
"""Exit statuses of pytest."""


class MutationError(Exception):
    """The table is wrong, or the tests do not notice."""


@dataclass(frozen=True)
class Mutation:
    """One place that is broken, and who must notice."""

    table: str
    name: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    slow: bool = False

    @property
    def full_name(self) -> str:
        """As the command line has it."""
        return f"{self.table}:{self.name}"


def read_tables(names: Iterable[str] = ()) -> list[Mutation]:
    """The mutations that `names` choose (tables, or single ones), all where there are none. Raises `MutationError`."""
    mutations = [mutation for path in sorted(TABLES.glob("*.yaml")) for mutation in _read_table(path)]
    chosen = [mutation for mutation in mutations if not names or {mutation.table, mutation.full_name} & set(names)]
    for name in names:
        if not any(name in (mutation.table, mutation.full_name) for mutation in chosen):
            known = ", ".join(sorted({mutation.table for mutation in mutations}))
            raise MutationError(f"there is no mutation {name!r}; the tables are {known}")
    return chosen


def _read_table(path: Path) -> Iterator[Mutation]:
    records: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(path)
    seen: set[str] = set()
    for number, record in enumerate(records, start=1):
        if record.keys() - {"slow"} != FIELDS or record["name"] in seen:
            raise MutationError(f"{path.name}, mutation {number}: expected a new name and {', '.join(sorted(FIELDS))}")
        seen.add(record["name"])
        yield Mutation(path.stem, **{**record, "tests": tuple(record["tests"])})


def apply(mutation: Mutation, root: Path) -> None:
    """Break the copy in `root`. Raises `MutationError` where the old text does not stand there exactly once."""
    path = root / mutation.file
    text = path.read_text(encoding="utf-8")
    found = text.count(mutation.old)
    if found != 1:
        raise MutationError(
            f"{mutation.full_name} is out of date: its old text stands {found} times in {mutation.file}, expected once"
        )
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


@contextmanager
def copy_of_project() -> Iterator[Path]:
    """A temporary copy, without caches, that every user can read."""
    with TemporaryDirectory(prefix="mutated-") as folder:
        os.chmod(folder, 0o755)
        root = Path(folder) / "project"
        root.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, root / name)
        yield root


def run_tests(root: Path, tests: Iterable[str], slow: bool) -> tuple[int, str]:
    """Run tests of the copy in `root`: pytest's exit status and what it said. Raises `MutationError` on a timeout."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-p",
        "no:cacheprovider",
        *(["-m", "slow"] if slow else []),
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise MutationError(f"the tests did not end within {TIMEOUT_SECONDS:g} seconds") from error
    return run.returncode, run.stdout + run.stderr


def check_unbroken(mutations: Iterable[Mutation]) -> None:
    """Every test that `mutations` name passes as the project stands. Raises `MutationError`."""
    mutations = list(mutations)
    with copy_of_project() as root:
        for slow in (False, True):
            tests = dict.fromkeys(test for mutation in mutations if mutation.slow is slow for test in mutation.tests)
            if not tests:
                continue
            status, said = run_tests(root, tests, slow)
            if status != PASSED:
                raise MutationError(f"without any mutation pytest ends with {status}:\n{said[-3000:]}")


def check_noticed(mutation: Mutation) -> str:
    """The first named test that fails once `mutation` is made. Raises `MutationError` where none does."""
    with copy_of_project() as root:
        apply(mutation, root)
        status, said = run_tests(root, mutation.tests, mutation.slow)
    if status == PASSED:
        raise MutationError(f"{mutation.full_name} is not noticed by {', '.join(mutation.tests)}. {mutation.why}")
    failed = [line for line in said.splitlines() if line.startswith("FAILED ")]
    if status != FAILED or not failed:
        raise MutationError(f"{mutation.full_name}: pytest ends with {status}, no test fails:\n{said[-3000:]}")
    return failed[0].removeprefix("FAILED ").partition(" - ")[0]
