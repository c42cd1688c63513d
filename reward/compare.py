"""When two outputs are the same.

Standard output follows LiveCodeBench's checker: strip the whole, the same number of lines, each line equal once
stripped or wholly made of equal decimal numbers. Its numerals are Python's `Decimal`; here they are plain ASCII
(no underscores, no fullwidth digits, no "nan"), and a number too strange to read is text, never an error.

Function results are plain JSON, compared strictly by type: true is not 1, "1" is not 1, null is not 0. JSON does not
tell 2 from 2.0, so a whole number equals a float of exactly its value; otherwise floats must be equal exactly.
"""

import json
import re
from typing import Any

NUMERAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,18}))?", re.ASCII)
MAX_DEPTH = 200
"""Nesting at which a JSON value stops being an answer; deeper values match nothing."""
BRACKETS_OUTSIDE_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


def outputs_match(actual: str, expected: str) -> bool:
    """True where a stdin program's output is the expected one. Linear in the length of both."""
    actual, expected = actual.strip(), expected.strip()
    if actual == expected:
        return True
    if actual.count("\n") != expected.count("\n"):
        return False
    return all(
        ours == theirs or canonical_line(ours) == canonical_line(theirs)
        for ours, theirs in zip(actual.split("\n"), expected.split("\n"), strict=True)
    )


def canonical_output(text: str) -> str:
    """A form of an output such that two outputs match exactly where their forms are equal."""
    return "\n".join(canonical_line(line) for line in text.strip().split("\n"))


def canonical_line(line: str) -> str:
    """A line stripped; where every token is a numeral, each is replaced by its value's one spelling."""
    line = line.strip()
    numerals = [_canonical_numeral(token) for token in line.split()]
    return line if None in numerals else " ".join(filter(None, numerals))


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
    try:
        return _same(parse_plain_json(actual_json), parse_plain_json(expected_json))
    except ValueError:
        return False


def parse_plain_json(text: str) -> Any:
    """Read strict JSON of bounded depth. Raises `ValueError` for anything else, whatever a hostile program wrote."""
    if is_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return json.loads(text, parse_constant=_refuse_constant)


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


def _same(actual: Any, expected: Any) -> bool:
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
