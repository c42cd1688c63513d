"""The operations that end a task: from values to the answer."""

import math
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from operator import ge, gt, xor
from typing import Any

from synth.procedural.operation import OutputOperation, Values, with_slip

AnswerCodes = tuple[tuple[str, str], tuple[str, str], tuple[str, str]]


def _number(
    name: str,
    phrasings: tuple[str, ...],
    apply: Any,
    codes: AnswerCodes,
    takes: Values = "numbers",
    slip: tuple[Any, AnswerCodes] | None = None,
) -> OutputOperation:
    return with_slip(OutputOperation(name, takes, phrasings, apply, codes, "int"), slip)


def _expression(expression: str, loop: tuple[str, str] | None = None) -> AnswerCodes:
    return (("", expression), loop or ("", expression), (f"ans = {expression}", "ans"))


def _largest_subarray_sum(numbers: list[int]) -> int:
    best = current = 0
    for number in numbers:
        current = max(0, current + number)
        best = max(best, current)
    return best


def _longest_run(numbers: list[int], goes_on: Callable[[int, int], bool]) -> int:
    best = current = 0
    for place, number in enumerate(numbers):
        current = current + 1 if place and goes_on(number, numbers[place - 1]) else 1
        best = max(best, current)
    return best


def _count_pairs(sign: str) -> AnswerCodes:
    return (
        ("", f"sum(y {sign} x for x, y in zip({{v}}, {{v}}[1:]))"),
        (f"c = 0\nfor i in range(1, len({{v}})):\n    if {{v}}[i] {sign} {{v}}[i - 1]:\n        c += 1", "c"),
        (f"ans = sum(map(lambda x, y: y {sign} x, {{v}}, {{v}}[1:]))", "ans"),
    )


def _run_code(sign: str) -> AnswerCodes:
    lines = (
        f"best = cur = 0\nfor i in range(len({{v}})):\n    if i and {{v}}[i] {sign} {{v}}[i - 1]:\n        cur += 1\n"
        "    else:\n        cur = 1\n    best = max(best, cur)"
    )
    return ((lines, "best"),) * 3


_SUM_LOOP = ("s = 0\nfor x in {v}:\n    s += x", "s")
_COUNT_LOOP = ("c = 0\nfor x in {v}:\n    c += 1", "c")
_LETTERS_LOOP = ("s = 0\nfor x in {v}:\n    s += len(x)", "s")
_XOR_LOOP = ("r = 0\nfor x in {v}:\n    r ^= x", "r")
_SUBARRAY = ("best = cur = 0\nfor x in {v}:\n    cur = max(0, cur + x)\n    best = max(best, cur)", "best")
_SUBARRAY_SLIP = ("best = cur = 0\nfor x in {v}:\n    cur = cur + x\n    best = max(best, cur)", "best")

NUMBER_OUTPUTS = (
    _number(
        "sum",
        ("the sum", "the total of the numbers", "the sum of the list"),
        sum,
        _expression("sum({v})", _SUM_LOOP),
        slip=(lambda a: sum(set(a)), _expression("sum(set({v}))")),
    ),
    _number(
        "maximum",
        ("the maximum, or 0 if empty", "the largest value, 0 when there is none", "the largest number or 0 if none"),
        lambda a: max(a, default=0),
        _expression("max({v}, default=0)"),
        slip=(lambda a: a[-1] if a else 0, _expression("{v}[-1] if {v} else 0")),
    ),
    _number(
        "minimum",
        ("the minimum, or 0 if empty", "the smallest value, 0 when there is none", "the smallest number or 0 if none"),
        lambda a: min(a, default=0),
        _expression("min({v}, default=0)"),
        slip=(lambda a: a[0] if a else 0, _expression("{v}[0] if {v} else 0")),
    ),
    _number(
        "count",
        ("how many remain", "the number of elements", "the length of the list"),
        len,
        _expression("len({v})", _COUNT_LOOP),
        slip=(lambda a: len(set(a)), _expression("len(set({v}))")),
    ),
    OutputOperation(
        "list",
        "numbers",
        ("the list", "the numbers in order", "all elements of the list"),
        list,
        (("", "{v}"), ("", "{v}"), ("ans = {v}", "ans")),
        "list[int]",
    ),
    _number(
        "greatest common divisor",
        ("the gcd of all numbers", "the greatest common divisor", "the gcd of the list"),
        lambda a: math.gcd(*a),
        (
            ("import math", "math.gcd(*{v})"),
            ("from math import gcd\ng = 0\nfor x in {v}:\n    g = gcd(g, x)", "g"),
            ("import math\nans = math.gcd(*{v})", "ans"),
        ),
        slip=(lambda a: min(map(abs, a), default=0), _expression("min(map(abs, {v}), default=0)")),
    ),
    _number(
        "distinct count",
        ("the number of distinct values", "how many different values there are", "the count of different values"),
        lambda a: len(set(a)),
        _expression("len(set({v}))"),
        slip=(len, _expression("len({v})")),
    ),
    _number(
        "exclusive or",
        ("the xor of all numbers", "the bitwise xor", "the xor of the list"),
        lambda a: reduce(xor, a, 0),
        (_XOR_LOOP, _XOR_LOOP, ("from functools import reduce\nans = reduce(lambda x, y: x ^ y, {v}, 0)", "ans")),
        slip=(lambda a: reduce(int.__or__, a, 0), (("r = 0\nfor x in {v}:\n    r |= x", "r"),) * 3),
    ),
    _number(
        "ascents",
        (
            "how many elements exceed their left neighbour",
            "the number of ascents",
            "how often a number is followed by a larger one",
        ),
        lambda a: sum(y > x for x, y in pairwise(a)),
        _count_pairs(">"),
        slip=(lambda a: sum(y >= x for x, y in pairwise(a)), _count_pairs(">=")),
    ),
    _number(
        "largest subarray sum",
        (
            "the best subarray sum, empty allowed",
            "the maximum sum of a contiguous part, at least 0",
            "the largest sum of neighbours in a row, or 0",
        ),
        _largest_subarray_sum,
        (_SUBARRAY,) * 3,
        slip=(lambda a: max([0, *(sum(a[: i + 1]) for i in range(len(a)))]), (_SUBARRAY_SLIP,) * 3),
    ),
    _number(
        "longest run",
        (
            "the length of the longest non-decreasing run",
            "the size of the longest non-decreasing block",
            "how long the longest non-decreasing part is",
        ),
        lambda a: _longest_run(a, ge),
        _run_code(">="),
        slip=(lambda a: _longest_run(a, gt), _run_code(">")),
    ),
)

WORD_OUTPUTS = (
    _number(
        "word count",
        ("how many words remain", "the number of words", "the count of words"),
        len,
        _expression("len({v})", _COUNT_LOOP),
        takes="words",
        slip=(lambda a: len(set(a)), _expression("len(set({v}))")),
    ),
    OutputOperation(
        "words",
        "words",
        ("the words", "all words in order", "the list of words"),
        list,
        (("", "{v}"), ("", "{v}"), ("ans = {v}", "ans")),
        "list[str]",
    ),
    OutputOperation(
        "joined words",
        "words",
        ("the words joined without spaces", "the concatenation of the words", "all words glued together"),
        "".join,
        (("", "''.join({v})"), ("s = ''\nfor x in {v}:\n    s += x", "s"), ("ans = ''.join({v})", "ans")),
        "str",
    ),
    _number(
        "letter total",
        ("the total length of the words", "the total number of letters", "how many letters there are in all"),
        lambda a: sum(map(len, a)),
        (("", "sum(len(x) for x in {v})"), _LETTERS_LOOP, ("ans = sum(map(len, {v}))", "ans")),
        takes="words",
        slip=(len, _expression("len({v})")),
    ),
)
