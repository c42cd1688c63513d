"""The data contract: what a problem, a test case and a solution are, in memory and on disk.

Every record is a frozen dataclass. Its Parquet schema is written out beside it, and a record's key is the
column tuple by which its rows are sorted on disk. No record holds a measured time: those live in side tables,
so that equal content is equal bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

IoKind = Literal["stdin", "function"]
Origin = Literal["prompt", "generator", "public", "private", "published"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one test may use. `seconds` is CPU time and lies on a coarse grid; `memory_mib` is in MiB."""

    seconds: float = 2.0
    memory_mib: int = 512


@dataclass(frozen=True, slots=True)
class Problem:
    """A programming task as a model sees it, without its tests.

    `starter_code` is set exactly when `io` is "function"; `function_name` then too, and where the input of a stdin
    problem is a program that calls the function. `features` are paths in the feature tree, such as
    "algorithm/sorting/merge sort". `checker` names how outputs are compared.
    """

    problem_id: str
    statement: str
    style: str
    io: IoKind
    function_name: str | None = None
    starter_code: str | None = None
    difficulty: str | None = None
    features: tuple[str, ...] = ()
    checker: str = "lines"
    limits: Limits = Limits()
    source: str = ""


@dataclass(frozen=True, slots=True)
class TestCase:
    """One input of a problem. `expected` is None until it is labelled; `agreement` is the share of the vote (0 to 1).

    For a stdin problem `input` is the text on standard input and `expected` the text on standard output. For a
    function problem `input` is one JSON value per line (the arguments in order) and `expected` one JSON value.
    """

    __test__ = False  # the name is the field's; pytest must not collect it

    problem_id: str
    index: int
    input: str
    expected: str | None = None
    origin: Origin = "generator"
    weight: int = 1
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """A candidate program for a problem, with the whole completion that it was taken from.

    `passed` counts labelled tests, `score` is their weighted share (0 to 1); both are None until judged.
    """

    problem_id: str
    index: int
    code: str
    response: str
    model: str
    passed: int | None = None
    score: float | None = None
    is_golden: bool = False


def problem_id(statement: str, io: IoKind, function_name: str | None, starter_code: str | None) -> str:
    """The identity of a problem: 16 hex digits over what a model is shown (first 64 bits of SHA-256)."""
    shown = json.dumps([statement, io, function_name, starter_code], ensure_ascii=False)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]
