"""Checkers: what makes a stdin program's output right where there is more than one right output.

    {"kind": "lines"}                                          the default: line by line, see `compare`
    {"kind": "float", "absolute": 1e-6, "relative": 1e-6}      numbers within either tolerance, other tokens equal
    {"kind": "unordered_lines"}                                the same lines in any order
    {"kind": "unordered_tokens"}                               the same tokens in any order
    {"kind": "program", "language": "python", "code": "…"}     a program that decides, in the sandbox as well

A checker program reads from standard input a line with three numbers, the lengths in bytes of the three texts that
follow it one after another: input, output, expected output. It prints `accept` or `refuse`. Anything else, a bad end
included, is a fault of the checker, so that nothing is known about the program.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from reward.compare import canonical_line, line_by_line, lines, outputs_match, tokens
from reward.compiler import PYTHON, compiled_languages
from xcoder_core.errors import InputError

DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
LONGEST_NUMERAL = 400
"""Characters up to which a token is read as a number: the longest double has fewer digits."""


@dataclass(frozen=True, slots=True)
class LinesChecker:
    """Line by line, decimals by value. As in every checker, `accepts` says whether an output is right."""

    def accepts(self, output: str, expected: str) -> bool:
        return outputs_match(output, expected)


@dataclass(frozen=True, slots=True)
class FloatChecker:
    """The same number of tokens on as many lines; numbers within either tolerance, other tokens equal."""

    absolute: float
    relative: float

    def accepts(self, output: str, expected: str) -> bool:
        return line_by_line(self._lines_match, output, expected)

    def _lines_match(self, ours: str, theirs: str) -> bool:
        pairs = zip_longest(tokens(ours), tokens(theirs), fillvalue="")
        return all(self._tokens_match(one, other) for one, other in pairs)

    def _tokens_match(self, ours: str, theirs: str) -> bool:
        if ours == theirs:
            return True
        if max(len(ours), len(theirs)) > LONGEST_NUMERAL or not (DECIMAL.fullmatch(ours) and DECIMAL.fullmatch(theirs)):
            return False
        return math.isclose(float(ours), float(theirs), rel_tol=self.relative, abs_tol=self.absolute)


@dataclass(frozen=True, slots=True)
class UnorderedLinesChecker:
    """The same lines, each as often, in any order."""

    def accepts(self, output: str, expected: str) -> bool:
        output, expected = output.strip(), expected.strip()
        if output.count("\n") != expected.count("\n"):
            return False
        return Counter(map(canonical_line, lines(output))) == Counter(map(canonical_line, lines(expected)))


@dataclass(frozen=True, slots=True)
class UnorderedTokensChecker:
    """The same tokens, each as often, in any order; line breaks do not count."""

    def accepts(self, output: str, expected: str) -> bool:
        left = Counter(map(canonical_line, tokens(expected)))
        for token in map(canonical_line, tokens(output)):
            if left[token] == 0:
                return False
            left[token] -= 1
        return not any(left.values())


@dataclass(frozen=True, slots=True)
class ProgramChecker:
    """A program that is given input, output and expected output, and prints `accept` or `refuse`."""

    code: str
    language: str = PYTHON

    def question(self, given: str, output: str, expected: str) -> str:
        """What it reads."""
        texts = (given, output, expected)
        sizes = " ".join(str(len(text.encode("utf-8", "surrogatepass"))) for text in texts)
        return f"{sizes}\n{''.join(texts)}"


Checker = LinesChecker | FloatChecker | UnorderedLinesChecker | UnorderedTokensChecker | ProgramChecker
LINES = LinesChecker()
FIELDS: dict[str, tuple[Callable[..., Checker], dict[str, type]]] = {
    "lines": (LinesChecker, {}),
    "float": (FloatChecker, {"absolute": float, "relative": float}),
    "unordered_lines": (UnorderedLinesChecker, {}),
    "unordered_tokens": (UnorderedTokensChecker, {}),
    "program": (ProgramChecker, {"code": str, "language": str}),
}
"""By kind: the class, and what it takes."""


def read_checker(text: str) -> Checker:
    """The checker of a problem: a kind's name, or its JSON form. Raises `InputError`."""
    if not text.startswith("{"):
        return parse_checker({"kind": text})
    try:
        return parse_checker(json.loads(text))
    except ValueError as error:
        raise InputError(f"checker: not a JSON value: {error}") from error


def parse_checker(record: object) -> Checker:
    """The checker of a JSON value. Raises `InputError` naming the field that is wrong."""
    if not isinstance(record, Mapping) or record.get("kind") not in [*FIELDS]:  # which may be no key, such as a list
        raise InputError(f'checker: expected an object whose "kind" is one of {", ".join(FIELDS)}')
    make, fields = FIELDS[record["kind"]]
    if unknown := sorted(record.keys() - {"kind", *fields}):
        raise InputError(f"checker: unknown field {unknown[0]!r} of kind {record['kind']!r}")
    given = {}
    for name, kind in fields.items():
        value = record.get(name, PYTHON if name == "language" else None)
        if kind is float:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
                raise InputError(f"checker.{name}: expected a number of at least 0")
            value = float(value)
        elif not isinstance(value, str):
            raise InputError(f"checker.{name}: expected text")
        given[name] = value
    if given.get("language", PYTHON) not in (PYTHON, *compiled_languages()):
        raise InputError(f"checker.language: {given['language']!r} is not known")
    return make(**given)
