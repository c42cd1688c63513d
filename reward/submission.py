"""A program with its tests, and the JSON lines it comes in."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward.checker import LINES, Checker, parse_checker
from reward.language import PYTHON, compiled_languages
from xcoder_core.errors import InputError
from xcoder_core.files import open_text_bytes
from xcoder_core.problem import Limits

FIELDS = {"id", "language", "code", "function_name", "tests", "limits", "checker"}
MAX_SECONDS = 3600.0
MIN_MEMORY_MIB, MAX_MEMORY_MIB = 16, 1 << 20


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
        if not self.inputs:
            raise InputError(
                f"submission {self.id!r} has no tests: at least one is needed, or every program would pass"
            )
        if len(self.inputs) != len(self.expected):
            raise InputError(
                f"submission {self.id!r} has {len(self.inputs)} inputs but {len(self.expected)} expected outputs"
            )
        if self.language != PYTHON and self.language not in compiled_languages():
            known = ", ".join([PYTHON, *compiled_languages()])
            raise InputError(f"submission {self.id!r} is in {self.language!r}; known languages are {known}")
        if self.language != PYTHON and self.function_name is not None:
            raise InputError(
                f"submission {self.id!r}: function_name is for Python; a program in {self.language!r} reads standard "
                "input"
            )
        if self.function_name is not None and not self.function_name.isidentifier():
            raise InputError(f"submission {self.id!r}: function_name {self.function_name!r} is not a Python name")
        if self.checker != LINES and self.function_name is not None:
            raise InputError(
                f"submission {self.id!r}: a checker is for programs that print; functions return JSON values"
            )
        if self.share_process and self.function_name is None:
            raise InputError(f"submission {self.id!r}: share_process needs a function problem (set function_name)")
        if not 0 < self.limits.seconds <= MAX_SECONDS:
            raise InputError(
                f"submission {self.id!r}: limits.seconds is {self.limits.seconds}; expected more than 0 and at most "
                f"{MAX_SECONDS:g}"
            )
        if not MIN_MEMORY_MIB <= self.limits.memory_mib <= MAX_MEMORY_MIB:
            raise InputError(
                f"submission {self.id!r}: limits.memory_mib is {self.limits.memory_mib}; expected "
                f"{MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}"
            )


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
    """Read one line of the file interface. Raises `InputError` naming the field that is wrong."""
    try:
        record = json.loads(line, object_pairs_hook=_object)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON value: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, found {_kind(record)}")
    if unknown := sorted(record.keys() - FIELDS):
        raise InputError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(FIELDS))}")
    tests = _field(record, "tests", list)
    inputs, expected = [], []
    for index, test in enumerate(tests):
        if not isinstance(test, dict) or test.keys() != {"input", "expected"}:
            raise InputError(f'tests[{index}]: expected {{"input": text, "expected": text}}')
        for name in ("input", "expected"):
            if not isinstance(test[name], str):
                raise InputError(f"tests[{index}].{name}: expected text, found {_kind(test[name])}")
        inputs.append(test["input"])
        expected.append(test["expected"])
    function_name = record.get("function_name")
    if function_name is not None and not isinstance(function_name, str):
        raise InputError(f"function_name: expected text or null, found {_kind(function_name)}")
    identity = _field(record, "id", str)
    if any("\ud800" <= character <= "\udfff" for character in identity):
        raise InputError(f"id: {identity!r} holds half of a surrogate pair, which is no text")
    submission = Submission(
        id=identity,
        code=_field(record, "code", str),
        inputs=tuple(inputs),
        expected=tuple(expected),
        function_name=function_name,
        limits=_limits(record.get("limits", {})),
        language=_field(record, "language", str) if "language" in record else PYTHON,
        checker=LINES if record.get("checker") is None else parse_checker(record["checker"]),
    )
    if function_name is not None:
        check_values(inputs, expected)
    return submission


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return record


def check_values(inputs: Sequence[str], expected: Sequence[str]) -> None:
    """The tests of a function problem are JSON; if they were not, the program would be blamed for it.

    Raises `InputError`.
    """
    for index, (arguments, result) in enumerate(zip(inputs, expected, strict=True)):
        try:
            for argument in arguments.split("\n"):
                if argument.strip():
                    json.loads(argument)
        except (ValueError, RecursionError) as error:
            raise InputError(f"tests[{index}].input: expected one JSON value per line: {error}") from error
        try:
            json.loads(result)
        except (ValueError, RecursionError) as error:
            raise InputError(f"tests[{index}].expected: expected one JSON value: {error}") from error


def _limits(record: Any) -> Limits:
    if not isinstance(record, dict):
        raise InputError(f"limits: expected a JSON object, found {_kind(record)}")
    if unknown := sorted(record.keys() - {"seconds", "memory_mib"}):
        raise InputError(f"limits: unknown field {unknown[0]!r}; known are memory_mib, seconds")
    seconds, memory_mib = record.get("seconds", Limits().seconds), record.get("memory_mib", Limits().memory_mib)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InputError(f"limits.seconds: expected a number, found {_kind(seconds)}")
    if isinstance(memory_mib, bool) or not isinstance(memory_mib, int):
        raise InputError(f"limits.memory_mib: expected a whole number, found {_kind(memory_mib)}")
    try:
        return Limits(float(seconds), memory_mib)
    except OverflowError as error:
        raise InputError(
            f"limits.seconds: expected at most {MAX_SECONDS:g}, found {len(str(seconds))} digits"
        ) from error


def _field(record: dict[str, Any], name: str, kind: type) -> Any:
    if name not in record:
        raise InputError(f"the field {name!r} is missing")
    if not isinstance(record[name], kind):
        expected = "text" if kind is str else "a list"
        raise InputError(f"{name}: expected {expected}, found {_kind(record[name])}")
    return record[name]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
