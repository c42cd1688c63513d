"""The operations that end a task: from values to the answer."""

import math
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from operator import ge, gt, xor

from synth.procedural.operation import Answer, OutputOperation, Way

AnswerCodes = tuple[tuple[str, str], tuple[str, str], tuple[str, str]]


def _expression(
    apply: Callable[..., Answer], expression: str, loop: tuple[str, str] | None = None
) -> Way[tuple[str, str]]:
    """The answer is one expression; `loop` is the second style's code where it goes another way."""
    return Way(apply, (("", expression), loop or ("", expression), (f"ans = {expression}", "ans")))


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
_GCD_LOOP = ("from math import gcd\ng = 0\nfor x in {v}:\n    g = gcd(g, x)", "g")
_XOR_LOOP = ("r = 0\nfor x in {v}:\n    r ^= x", "r")
_XOR_REDUCE = ("from functools import reduce\nans = reduce(lambda x, y: x ^ y, {v}, 0)", "ans")
_OR_LOOP = ("r = 0\nfor x in {v}:\n    r |= x", "r")
_SUBARRAY = ("best = cur = 0\nfor x in {v}:\n    cur = max(0, cur + x)\n    best = max(best, cur)", "best")
_SUBARRAY_SLIP = ("best = cur = 0\nfor x in {v}:\n    cur = cur + x\n    best = max(best, cur)", "best")

_COUNT = _expression(len, "len({v})", _COUNT_LOOP)
_DISTINCT_COUNT = _expression(lambda a: len(set(a)), "len(set({v}))")
_EVERYTHING = _expression(list, "{v}")

NUMBER_OUTPUTS = (
    OutputOperation(
        "sum", _expression(sum, "sum({v})", _SUM_LOOP), _expression(lambda a: sum(set(a)), "sum(set({v}))")
    ),
    OutputOperation(
        "maximum",
        _expression(lambda a: max(a, default=0), "max({v}, default=0)"),
        _expression(lambda a: a[-1] if a else 0, "{v}[-1] if {v} else 0"),
    ),
    OutputOperation(
        "minimum",
        _expression(lambda a: min(a, default=0), "min({v}, default=0)"),
        _expression(lambda a: a[0] if a else 0, "{v}[0] if {v} else 0"),
    ),
    OutputOperation("count", _COUNT, _DISTINCT_COUNT),
    OutputOperation("list", _EVERYTHING, returns="list[int]"),
    OutputOperation(
        "greatest common divisor",
        Way(
            lambda a: math.gcd(*a),
            (("import math", "math.gcd(*{v})"), _GCD_LOOP, ("import math\nans = math.gcd(*{v})", "ans")),
        ),
        _expression(lambda a: min(map(abs, a), default=0), "min(map(abs, {v}), default=0)"),
    ),
    OutputOperation("distinct count", _DISTINCT_COUNT, _expression(len, "len({v})")),
    OutputOperation(
        "exclusive or",
        Way(lambda a: reduce(xor, a, 0), (_XOR_LOOP, _XOR_LOOP, _XOR_REDUCE)),
        Way(lambda a: reduce(int.__or__, a, 0), (_OR_LOOP,) * 3),
    ),
    OutputOperation(
        "ascents",
        Way(lambda a: sum(y > x for x, y in pairwise(a)), _count_pairs(">")),
        Way(lambda a: sum(y >= x for x, y in pairwise(a)), _count_pairs(">=")),
    ),
    OutputOperation(
        "largest subarray sum",
        Way(_largest_subarray_sum, (_SUBARRAY,) * 3),
        Way(lambda a: max([0, *(sum(a[: i + 1]) for i in range(len(a)))]), (_SUBARRAY_SLIP,) * 3),
    ),
    OutputOperation(
        "longest run",
        Way(lambda a: _longest_run(a, ge), _run_code(">=")),
        Way(lambda a: _longest_run(a, gt), _run_code(">")),
    ),
)

WORD_OUTPUTS = (
    OutputOperation("word count", _COUNT, _DISTINCT_COUNT, "words"),
    OutputOperation("words", _EVERYTHING, None, "words", "list[str]"),
    OutputOperation(
        "joined words",
        _expression("".join, "''.join({v})", ("s = ''\nfor x in {v}:\n    s += x", "s")),
        None,
        "words",
        "str",
    ),
    OutputOperation(
        "letter total",
        Way(
            lambda a: sum(map(len, a)),
            (("", "sum(len(x) for x in {v})"), _LETTERS_LOOP, ("ans = sum(map(len, {v}))", "ans")),
        ),
        _expression(len, "len({v})"),
        "words",
    ),
)
