"""When two outputs are the same.

Standard output follows LiveCodeBench's checker: strip the whole, the same number of lines, each line equal once
stripped or wholly made of equal decimal numbers. Its numerals are Python's `Decimal`; here they are plain ASCII
(no underscores, no fullwidth digits, no "nan"), and a number too strange to read is text, never an error.

Function results are plain JSON, compared strictly by type: true is not 1, "1" is not 1, null is not 0. JSON does not
tell 2 from 2.0, so a whole number equals a float of exactly its value; otherwise floats must be equal exactly.

The policy `livecodebench` compares as the official LiveCodeBench checker does, which is laxer: numerals are whatever
`Decimal` reads (underscores, digits of any script, "inf"), and values are compared by Python's ==, for which true is 1
and 1.0 is 1. Only strings and values read from JSON get here, never an object that a program made.

A hostile output is as long as its cap. So texts are read line by line and token by token up to the first difference,
and never taken apart as a whole, which would take fifty times their size.
"""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice, zip_longest
from typing import TypeGuard

TOKEN = re.compile(r"\S+")
NUMERAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,18}))?", re.ASCII)
PART = 1 << 16
"""Characters of a text that are taken apart at a time."""
TOKENS = 1 << 10
"""Tokens of a line that are held at a time."""
LONGEST_FORM = 100
"""A value's JSON is no more than this many times as long as another form of it, such as 1e300 and its 301 digits. What
is longer than that is padding, and is not parsed."""
MAX_DEPTH = 200
"""Nesting at which a JSON value stops being an answer; deeper values match nothing."""
# A text that is never closed goes to the end: were it not taken, each quote in it would be tried as another beginning.
BRACKETS_OUTSIDE_TEXT = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|([\[{])|([\]}])', re.DOTALL)


def outputs_match(actual: str, expected: str) -> bool:
    """True where a stdin program's output is the expected one. Linear in the length of both."""
    return actual.strip() == expected.strip() or line_by_line(_lines_match, actual, expected)


def line_by_line(match: Callable[[str, str], bool], actual: str, expected: str) -> bool:
    """True where both have as many lines, but for what is blank at their ends, and every two of them `match`."""
    actual, expected = actual.strip(), expected.strip()
    return actual.count("\n") == expected.count("\n") and all(map(match, lines(actual), lines(expected)))


def lines(text: str) -> Iterator[str]:
    """As `text.split("\\n")`, a part of the text at a time."""
    at = 0
    while (end := text.find("\n", at + PART)) >= 0:
        yield from text[at:end].split("\n")
        at = end + 1
    yield from text[at:].split("\n")


def tokens(text: str) -> Iterator[str]:
    """As `text.split()`, one at a time."""
    return (match[0] for match in TOKEN.finditer(text))


def _lines_match(ours: str, theirs: str) -> bool:
    """True where `canonical_line` gives the same for both."""
    return (
        ours == theirs
        or ours.strip() == theirs.strip()
        or all(
            (value := _canonical_numeral(one)) is not None and value == _canonical_numeral(other)
            for one, other in zip_longest(tokens(ours), tokens(theirs), fillvalue="")
        )
    )


def canonical_output(text: str) -> str:
    """A form of an output such that two outputs match exactly where their forms are equal."""
    return "\n".join(canonical_line(line) for line in text.strip().split("\n"))


def canonical_line(line: str) -> str:
    """A line stripped; where every token is a numeral, each is replaced by its value's one spelling."""
    line = line.strip()
    parts, left = [], tokens(line)
    while some := list(islice(left, TOKENS)):
        numerals = [_canonical_numeral(token) for token in some]
        if None in numerals:
            return line
        parts.append(" ".join(filter(None, numerals)))
    return " ".join(parts)


def _canonical_numeral(token: str) -> str | None:
    """The value as digits without outer zeros and a power of ten: "-012.50" is "-125e-1". None where not a numeral."""
    match = NUMERAL.fullmatch(token)
    if match is None or not (match[2] or match[3]):
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0e0"
    power = exponent - len(fraction) + len(digits) - len(significant)
    return f"{'-' if sign == '-' else ''}{significant}e{power}"


def values_match(actual_json: str, expected_json: str) -> bool:
    """True where a function's result, as JSON, is the expected value. Invalid or very deep JSON matches nothing."""
    if is_padded(actual_json, expected_json):
        return False
    try:
        return _same(parse_plain_json(actual_json), parse_plain_json(expected_json))
    except ValueError:
        return False


def parse_plain_json(text: str) -> object:
    """Read strict JSON of bounded depth. Raises `ValueError` for anything else, whatever a hostile program wrote."""
    if is_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return json.loads(text, parse_constant=_refuse_constant)


def is_padded(actual_json: str, expected_json: str) -> bool:
    """True where the first is too long to be another form of the second."""
    return len(actual_json) > LONGEST_FORM * len(expected_json)


def is_deep(text: str) -> bool:
    """True where JSON text is nested more than `MAX_DEPTH` deep, found without parsing it."""
    depth = deepest = 0
    for match in BRACKETS_OUTSIDE_TEXT.finditer(text):
        depth += (match[1] is not None) - (match[2] is not None)
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            return True
    return False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _same(actual: object, expected: object) -> bool:
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(expected)
            and all(_same(ours, theirs) for ours, theirs in zip(actual, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and actual.keys() == expected.keys()
            and all(_same(actual[key], expected[key]) for key in expected)
        )
    if _is_number(expected):
        return _is_number(actual) and actual == expected
    return type(actual) is type(expected) and actual == expected


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def officially_same_output(actual: str, expected: str) -> bool:
    """True where the official checker accepts a stdin program's output."""
    return line_by_line(_officially_same_line, actual, expected)


def _officially_same_line(ours: str, theirs: str) -> bool:
    if ours.strip() == theirs.strip():
        return True
    try:
        return all(
            Decimal(one) == Decimal(other)
            for one, other in zip_longest(tokens(ours), tokens(theirs), fillvalue="no numeral")
        )
    except InvalidOperation:  # not numerals, or a signalling NaN, at which the official checker fails the sample
        return False


def officially_same_value(actual_json: str, expected_json: str) -> bool:
    """True where the official checker accepts a function's result, both as JSON (NaN and Infinity are read)."""
    if is_padded(actual_json, expected_json) or is_deep(actual_json):
        return False
    try:
        # Decimals equal what the integers would, and have no limit on their digits; the official checker raises it.
        return bool(json.loads(actual_json, parse_int=Decimal) == json.loads(expected_json, parse_int=Decimal))
    except ValueError:
        return False
