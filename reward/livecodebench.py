"""When the official LiveCodeBench checker calls two outputs the same: the `livecodebench` policy's comparison.

It is laxer than `compare`: numerals are whatever Python's `Decimal` reads (underscores, digits of any script, "inf"),
and values are compared by Python's ==, for which true is 1 and 1.0 is 1. Only strings and values read from JSON get
here, never an object that a program made.
"""

import json
from decimal import Decimal, InvalidOperation
from itertools import zip_longest

from reward.compare import is_deep, is_padded, lines, tokens


def outputs_match(actual: str, expected: str) -> bool:
    """True where the official checker accepts a stdin program's output."""
    actual, expected = actual.strip(), expected.strip()
    return actual.count("\n") == expected.count("\n") and all(map(_lines_match, lines(actual), lines(expected)))


def _lines_match(ours: str, theirs: str) -> bool:
    if ours.strip() == theirs.strip():
        return True
    try:
        return all(
            Decimal(one) == Decimal(other)
            for one, other in zip_longest(tokens(ours), tokens(theirs), fillvalue="no numeral")
        )
    except InvalidOperation:  # not numerals, or a signalling NaN, at which the official checker fails the sample
        return False


def values_match(actual_json: str, expected_json: str) -> bool:
    """True where the official checker accepts a function's result, both as JSON (NaN and Infinity are read)."""
    if is_padded(actual_json, expected_json) or is_deep(actual_json):
        return False
    try:
        # Decimals equal what the integers would, and have no limit on their digits; the official checker raises it.
        return bool(json.loads(actual_json, parse_int=Decimal) == json.loads(expected_json, parse_int=Decimal))
    except ValueError:
        return False
