"""A program with its tests, and the JSON that it comes in: a line of a file, or a part of a request."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from reward.checker import LINES, Checker, parse_checker
from reward.compiler import PYTHON, compiled_languages
from xcoder_core.errors import InputError
from xcoder_core.files import open_text_bytes
from xcoder_core.problem import Limits

MAX_SECONDS = 3600.0
MIN_MEMORY_MIB, MAX_MEMORY_MIB = 16, 1 << 20
MOST_FIELDS = 100
"""Of one JSON object; far more than any has that is meant."""
MOST_MISTAKES = 5
"""Mistakes of one line that are named."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A program to run on `inputs`. `expected` has one output per input, or None where it is not known.

    A function problem names the function: each input is then one JSON value per line (the arguments in order) and
    each expected output one JSON value. `share_process` runs all tests of a function problem in one process:
    about three times faster, but the program can carry state from one test to the next. `checker` decides on what a
    stdin program prints.

    Raises `InputError` where the parts do not fit together, an empty list of tests among them.
    """

    id: str
    code: str
    inputs: tuple[str, ...]
    expected: tuple[str | None, ...]
    function_name: str | None = None
    limits: Limits = Limits()
    language: str = PYTHON
    share_process: bool = False
    checker: Checker = LINES

    def __post_init__(self) -> None:
        if (mistake := self._mistake()) is not None:
            raise InputError(f"submission {self.id!r}: {mistake}")

    def _mistake(self) -> str | None:
        seconds, memory_mib = self.limits.seconds, self.limits.memory_mib
        if not self.inputs:
            return "it has no tests: at least one is needed, or every program would pass"
        if len(self.inputs) != len(self.expected):
            return f"it has {len(self.inputs)} inputs but {len(self.expected)} expected outputs"
        if self.language != PYTHON and self.language not in compiled_languages():
            return f"it is in {self.language!r}; known languages are {', '.join([PYTHON, *compiled_languages()])}"
        if self.share_process and self.function_name is None:
            return "share_process needs a function problem (set function_name)"
        if self.function_name is not None and self.language != PYTHON:
            return f"function_name is for Python; a program in {self.language!r} reads standard input"
        if self.function_name is not None and not self.function_name.isidentifier():
            return f"function_name {self.function_name!r} is not a Python name"
        if self.function_name is not None and self.checker != LINES:
            return "a checker is for programs that print; functions return JSON values"
        if not 0 < seconds <= MAX_SECONDS:
            return f"limits.seconds is {seconds}; expected more than 0 and at most {MAX_SECONDS:g}"
        if not MIN_MEMORY_MIB <= memory_mib <= MAX_MEMORY_MIB:
            return f"limits.memory_mib is {memory_mib}; expected {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}"
        return None


class Record(BaseModel):
    """A JSON object: unknown fields are errors, and text is not taken for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_not_many_fields(cls, value: object) -> object:
        """Each unknown one is an error of its own, and takes a hundred times its room in the text."""
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise ValueError(f"has {len(value)} fields; known are {', '.join(cls.model_fields)}")
        return value


class TestRecord(Record):
    """One test: what the program reads, and what it must print (or return, for a function problem)."""

    __test__ = False

    input: str
    expected: str


class LimitsRecord(Record):
    """What one test may use: seconds of CPU time, MiB of memory."""

    seconds: float = Limits().seconds
    memory_mib: int = Limits().memory_mib


class SubmissionRecord(Record):
    """A program with its tests. A function problem's tests hold one JSON value per line."""

    id: str
    language: str = PYTHON
    code: str
    function_name: str | None = None
    tests: Annotated[list[TestRecord], FailFast()] = Field(min_length=1)
    limits: LimitsRecord = LimitsRecord()
    checker: object = None

    def submission(self) -> Submission:
        """What it describes. Raises `InputError` where its parts do not fit together."""
        submission = Submission(
            id=self.id,
            code=self.code,
            inputs=tuple(test.input for test in self.tests),
            expected=tuple(test.expected for test in self.tests),
            function_name=self.function_name,
            limits=Limits(self.limits.seconds, self.limits.memory_mib),
            language=self.language,
            checker=LINES if self.checker is None else parse_checker(self.checker),
        )
        if self.function_name is not None:
            _check_values(self.tests)
        return submission


def _check_values(tests: Sequence[TestRecord]) -> None:
    """The tests of a function problem are JSON; if they were not, the program would be blamed for it."""
    for index, test in enumerate(tests):
        arguments = [argument for argument in test.input.split("\n") if argument.strip()]
        for name, expected, values in (
            ("input", "one JSON value per line", arguments),
            ("expected", "one JSON value", [test.expected]),
        ):
            try:
                for value in values:
                    json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InputError(f"tests[{index}].{name}: expected {expected}: {error}") from error


def read_submissions(path: Path) -> Iterator[Submission]:
    """Yield the submissions of a JSON-lines file; blank lines are skipped.

    Raises `InputError` with the line number at the first line that is not a submission or repeats an id.
    """
    number = 0
    lines: dict[str, int] = {}
    try:
        with open_text_bytes(path) as stream:
            for line in stream:
                number += 1
                if line.strip():
                    submission = parse_submission(line.decode("utf-8"))
                    first = lines.setdefault(submission.id, number)
                    if first != number:
                        raise InputError(f"the id {submission.id!r} is that of line {first} already")
                    yield submission
    except OSError as error:
        raise InputError(f"cannot read submissions from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 text ({error.reason})") from error
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from error


def parse_submission(line: str) -> Submission:
    """Read one line of the file interface. Raises `InputError` naming the fields that are wrong."""
    try:
        record = SubmissionRecord.model_validate(json.loads(line, object_pairs_hook=_object))
    except ValidationError as error:
        raise InputError("; ".join(map(_wording, error.errors()[:MOST_MISTAKES]))) from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON value: {error}") from error
    if any("\ud800" <= character <= "\udfff" for character in record.id):
        raise InputError(f"id: {record.id!r} holds half of a surrogate pair, which is no text")
    return record.submission()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return record


EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "model_type": "a JSON object",
}


def _wording(mistake: ErrorDetails) -> str:
    """Where a mistake is, what was expected there, and what was found."""
    kind, value, path = mistake["type"], mistake["input"], list(mistake["loc"])
    last = path.pop() if kind in ("missing", "extra_forbidden") else None
    part = next((_PARTS[name] for name in reversed(path) if name in _PARTS), SubmissionRecord)
    place = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path).removeprefix(".")
    if kind == "missing":
        message = f"the field {last!r} is missing"
    elif kind == "extra_forbidden":
        message = f"unknown field {last!r}; known are {', '.join(sorted(part.model_fields))}"
    elif kind == "too_short":
        message = "has no tests: at least one is needed, or every program would pass"
    elif kind == "float_type" and type(value) is int:
        message = f"expected at most {MAX_SECONDS:g}, found {len(str(value))} digits"
    elif kind in EXPECTED:
        null = " or null" if path == ["function_name"] else ""
        message = f"expected {EXPECTED[kind]}{null}, found {_kind(value)}"
    else:
        message = mistake["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


_PARTS: dict[int | str, type[Record]] = {"tests": TestRecord, "limits": LimitsRecord}


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
