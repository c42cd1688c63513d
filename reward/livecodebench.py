"""When the official LiveCodeBench checker calls two outputs the same: the `livecodebench` policy's comparison.

It is laxer than `compare`: numerals are whatever Python's `Decimal` reads (underscores, digits of any script, "inf"),
and values are compared by Python's ==, for which true is 1 and 1.0 is 1. Only strings and values read from JSON get
here, never an object that a program made.
"""

import json
from decimal import Decimal, InvalidOperation

from reward.compare import is_deep


def outputs_match(actual: str, expected: str) -> bool:
    """True where the official checker accepts a stdin program's output."""
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (actual, expected))
    return len(ours) == len(theirs) and all(map(_lines_match, ours, theirs))


def _lines_match(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    try:
        return [Decimal(token) for token in ours.split()] == [Decimal(token) for token in theirs.split()]
    except InvalidOperation:  # not numerals, or a signalling NaN, at which the official checker fails the sample
        return False


def values_match(actual_json: str, expected_json: str) -> bool:
    """True where the official checker accepts a function's result, both as JSON (NaN and Infinity are read)."""
    if is_deep(actual_json):
        return False
    try:
        return bool(json.loads(actual_json) == json.loads(expected_json))
    except ValueError:
        return False
