"""Operations from a list of integers to a list of integers."""

from dataclasses import replace
from itertools import accumulate
from typing import Any

from synth.procedural.operation import Codes, Operation, Parameter, keep_codes, replace_codes

Numbers = list[int]


def _operation(
    name: str, group: str, phrasings: tuple[str, ...], apply: Any, codes: Codes, parameter: Parameter | None = None
) -> Operation:
    return Operation(name, group, "numbers", "numbers", phrasings, apply, codes, parameter)


def _slipping(right: Operation, apply: Any, codes: Codes) -> Operation:
    return replace(right, slip=replace(right, apply=apply, codes=codes))


def _running(numbers: Numbers, larger: bool) -> Numbers:
    return list(accumulate(numbers, max if larger else min))


def _loop(expression: str, count: str) -> str:
    return f"res = []\nfor i in range({count}):\n    res.append({expression})\n{{v}} = res"


def _slice(expression: str) -> Codes:
    return (f"{{v}} = {expression}",) * 3


_ACCUMULATE = "from itertools import accumulate\n"
_SUMS = "res = []\ns = 0\nfor x in {v}:\n    s += x\n    res.append(s)\n{v} = res"
_SUMS_LATE = "res = []\ns = 0\nfor x in {v}:\n    res.append(s)\n    s += x\n{v} = res"


def _running_loop(sign: str) -> str:
    keep_last = f"    if res and res[-1] {sign} x:\n        x = res[-1]\n"
    return f"res = []\nfor x in {{v}}:\n{keep_last}    res.append(x)\n{{v}} = res"


FILTERS = (
    _slipping(
        _operation(
            "keep even numbers",
            "filter",
            ("Keep only the even numbers.", "Discard every odd number.", "Leave just the even numbers."),
            lambda a, c: [x for x in a if x % 2 == 0],
            keep_codes("x % 2 == 0"),
        ),
        lambda a, c: [x for x in a if x % 2],
        keep_codes("x % 2 != 0"),
    ),
    _slipping(
        _operation(
            "keep odd numbers",
            "filter",
            ("Keep only the odd numbers.", "Discard every even number.", "Leave just the odd numbers."),
            lambda a, c: [x for x in a if x % 2],
            keep_codes("x % 2 == 1"),
        ),
        lambda a, c: [x for x in a if x % 2 == 1 and x > 0],
        keep_codes("x % 2 == 1 and x > 0"),
    ),
    _slipping(
        _operation(
            "keep greater",
            "filter",
            (
                "Keep the numbers greater than {c}.",
                "Drop all numbers that are at most {c}.",
                "Leave only numbers above {c}.",
            ),
            lambda a, c: [x for x in a if x > c],
            keep_codes("x > {c}"),
            "amount",
        ),
        lambda a, c: [x for x in a if x >= c],
        keep_codes("x >= {c}"),
    ),
    _slipping(
        _operation(
            "keep less",
            "filter",
            (
                "Keep the numbers less than {c}.",
                "Drop all numbers that are at least {c}.",
                "Leave only numbers below {c}.",
            ),
            lambda a, c: [x for x in a if x < c],
            keep_codes("x < {c}"),
            "amount",
        ),
        lambda a, c: [x for x in a if x <= c],
        keep_codes("x <= {c}"),
    ),
    _slipping(
        _operation(
            "keep multiples",
            "filter",
            (
                "Keep the multiples of {c}.",
                "Keep only numbers divisible by {c}.",
                "Leave just the multiples of {c}.",
            ),
            lambda a, c: [x for x in a if x % c == 0],
            keep_codes("x % {c} == 0"),
            "divisor",
        ),
        lambda a, c: [x for x in a if x % c == 0 and x > 0],
        keep_codes("x % {c} == 0 and x > 0"),
    ),
    _slipping(
        _operation(
            "remove multiples",
            "filter",
            (
                "Remove the multiples of {c}.",
                "Remove all numbers divisible by {c}.",
                "Drop every multiple of {c}.",
            ),
            lambda a, c: [x for x in a if x % c],
            keep_codes("x % {c} != 0"),
            "divisor",
        ),
        lambda a, c: [x for x in a if x % c == 1],
        keep_codes("x % {c} == 1"),
    ),
)

MAPS = (
    _slipping(
        _operation(
            "add",
            "map",
            ("Add {c} to every number.", "Increase each number by {c}.", "Raise all numbers by {c}."),
            lambda a, c: [x + c for x in a],
            replace_codes("x + {c}"),
            "amount",
        ),
        lambda a, c: [x + c + 1 for x in a],
        replace_codes("x + {c} + 1"),
    ),
    _slipping(
        _operation(
            "subtract",
            "map",
            ("Subtract {c} from every number.", "Decrease each number by {c}.", "Lower all numbers by {c}."),
            lambda a, c: [x - c for x in a],
            replace_codes("x - {c}"),
            "amount",
        ),
        lambda a, c: [c - x for x in a],
        replace_codes("{c} - x"),
    ),
    _slipping(
        _operation(
            "multiply",
            "map",
            ("Multiply every number by {c}.", "Scale each number by {c}.", "Make each number {c} times as large."),
            lambda a, c: [x * c for x in a],
            replace_codes("x * {c}"),
            "amount",
        ),
        lambda a, c: [x + c for x in a],
        replace_codes("x + {c}"),
    ),
    _slipping(
        _operation(
            "square",
            "map",
            ("Square every number.", "Replace each number with its square.", "Multiply each number by itself."),
            lambda a, c: [x * x for x in a],
            replace_codes("x * x"),
        ),
        lambda a, c: [x * 2 for x in a],
        replace_codes("x * 2"),
    ),
    _slipping(
        _operation(
            "absolute value",
            "map",
            ("Take absolute values.", "Replace each number with its absolute value.", "Drop the minus signs."),
            lambda a, c: [abs(x) for x in a],
            replace_codes("abs(x)"),
        ),
        lambda a, c: [max(x, 0) for x in a],
        replace_codes("max(x, 0)"),
    ),
    _slipping(
        _operation(
            "negate",
            "map",
            ("Negate every number.", "Flip the sign of each number.", "Replace each number with its opposite."),
            lambda a, c: [-x for x in a],
            replace_codes("-x"),
        ),
        lambda a, c: [-abs(x) for x in a],
        replace_codes("-abs(x)"),
    ),
    _slipping(
        _operation(
            "remainder",
            "map",
            (
                "Replace each number by its remainder modulo {c}.",
                "Reduce every number modulo {c}.",
                "Take each number modulo {c}.",
            ),
            lambda a, c: [x % c for x in a],
            replace_codes("x % {c}"),
            "divisor",
        ),
        lambda a, c: [abs(x) % c for x in a],
        replace_codes("abs(x) % {c}"),
    ),
    _slipping(
        _operation(
            "digit sum",
            "map",
            (
                "Replace each number by the sum of its digits, ignoring the sign.",
                "Take the digit sum of every absolute value.",
                "Sum the digits of each number without its sign.",
            ),
            lambda a, c: [sum(map(int, str(abs(x)))) for x in a],
            replace_codes("sum(map(int, str(abs(x))))"),
        ),
        lambda a, c: [len(str(abs(x))) for x in a],
        replace_codes("len(str(abs(x)))"),
    ),
)

ORDERS = (
    _slipping(
        _operation(
            "sort increasing",
            "order",
            ("Sort in increasing order.", "Arrange the numbers in ascending order.", "Order from small to large."),
            lambda a, c: sorted(a),
            ("{v} = sorted({v})", "{v}.sort()", "{v} = sorted({v})"),
        ),
        lambda a, c: sorted(a, reverse=True),
        ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
    ),
    _slipping(
        _operation(
            "sort decreasing",
            "order",
            ("Sort in decreasing order.", "Arrange the numbers in descending order.", "Order from large to small."),
            lambda a, c: sorted(a, reverse=True),
            ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
        ),
        lambda a, c: sorted(a),
        ("{v} = sorted({v})", "{v}.sort()", "{v} = sorted({v})"),
    ),
    _slipping(
        _operation(
            "distinct",
            "order",
            (
                "Remove duplicates, keeping first occurrences.",
                "Keep only the first occurrence of each value.",
                "Drop every value that was seen before.",
            ),
            lambda a, c: list(dict.fromkeys(a)),
            (
                "{v} = list(dict.fromkeys({v}))",
                "res = []\nfor x in {v}:\n    if x not in res:\n        res.append(x)\n{v} = res",
                "{v} = list(dict.fromkeys({v}))",
            ),
        ),
        lambda a, c: sorted(set(a)),
        ("{v} = sorted(set({v}))",) * 3,
    ),
    _slipping(
        _operation(
            "reverse",
            "order",
            ("Reverse the list.", "Read the list from right to left.", "Turn the list around."),
            lambda a, c: a[::-1],
            ("{v} = {v}[::-1]", "{v}.reverse()", "{v} = list(reversed({v}))"),
        ),
        lambda a, c: sorted(a, reverse=True),
        ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
    ),
)

SCANS = (
    _slipping(
        _operation(
            "prefix sums",
            "scan",
            ("Replace the list with its prefix sums.", "Compute the running totals.", "Take all prefix sums."),
            lambda a, c: list(accumulate(a)),
            (_ACCUMULATE + "{v} = list(accumulate({v}))", _SUMS, _ACCUMULATE + "{v} = list(accumulate({v}))"),
        ),
        lambda a, c: [0, *accumulate(a)][:-1],
        (_SUMS_LATE,) * 3,
    ),
    _slipping(
        _operation(
            "running maximum",
            "scan",
            (
                "Replace each number with the maximum so far.",
                "Compute the running maximum.",
                "Take the largest value up to each place.",
            ),
            lambda a, c: _running(a, larger=True),
            (
                _ACCUMULATE + "{v} = list(accumulate({v}, max))",
                _running_loop(">"),
                _ACCUMULATE + "{v} = list(accumulate({v}, max))",
            ),
        ),
        lambda a, c: _running(a, larger=False),
        (
            _ACCUMULATE + "{v} = list(accumulate({v}, min))",
            _running_loop("<"),
            _ACCUMULATE + "{v} = list(accumulate({v}, min))",
        ),
    ),
    _slipping(
        _operation(
            "differences",
            "scan",
            (
                "Take differences of neighbours, next minus current.",
                "Replace the list with its adjacent differences.",
                "Subtract each number from the next one.",
            ),
            lambda a, c: [y - x for x, y in zip(a, a[1:], strict=False)],
            (
                "{v} = [y - x for x, y in zip({v}, {v}[1:])]",
                _loop("{v}[i + 1] - {v}[i]", "len({v}) - 1"),
                "{v} = list(map(lambda x, y: y - x, {v}, {v}[1:]))",
            ),
        ),
        lambda a, c: [x - y for x, y in zip(a, a[1:], strict=False)],
        (
            "{v} = [x - y for x, y in zip({v}, {v}[1:])]",
            _loop("{v}[i] - {v}[i + 1]", "len({v}) - 1"),
            "{v} = list(map(lambda x, y: x - y, {v}, {v}[1:]))",
        ),
    ),
    _slipping(
        _operation(
            "neighbour maximum",
            "scan",
            (
                "Take the larger of each pair of neighbours.",
                "Replace the list with maxima of adjacent pairs.",
                "Compare neighbours and keep the larger of each two.",
            ),
            lambda a, c: [max(x, y) for x, y in zip(a, a[1:], strict=False)],
            (
                "{v} = [max(x, y) for x, y in zip({v}, {v}[1:])]",
                _loop("max({v}[i], {v}[i + 1])", "len({v}) - 1"),
                "{v} = list(map(max, {v}, {v}[1:]))",
            ),
        ),
        lambda a, c: [min(x, y) for x, y in zip(a, a[1:], strict=False)],
        (
            "{v} = [min(x, y) for x, y in zip({v}, {v}[1:])]",
            _loop("min({v}[i], {v}[i + 1])", "len({v}) - 1"),
            "{v} = list(map(min, {v}, {v}[1:]))",
        ),
    ),
)

SLICES = (
    _slipping(
        _operation(
            "take first",
            "slice",
            (
                "Keep only the first {c} elements.",
                "Cut the list after {c} elements.",
                "Leave just the first {c} elements.",
            ),
            lambda a, c: a[:c],
            _slice("{v}[:{c}]"),
            "count",
        ),
        lambda a, c: a[: c - 1],
        _slice("{v}[:{c} - 1]"),
    ),
    _slipping(
        _operation(
            "skip first",
            "slice",
            ("Skip the first {c} elements.", "Delete {c} elements from the front.", "Drop the first {c} elements."),
            lambda a, c: a[c:],
            _slice("{v}[{c}:]"),
            "count",
        ),
        lambda a, c: a[c + 1 :],
        _slice("{v}[{c} + 1:]"),
    ),
    _slipping(
        _operation(
            "every second",
            "slice",
            (
                "Keep every second element, starting with the first.",
                "Keep elements at indices 0, 2, 4 and so on.",
                "From the first element on, skip every other one.",
            ),
            lambda a, c: a[::2],
            ("{v} = {v}[::2]", "{v} = [{v}[i] for i in range(0, len({v}), 2)]", "{v} = {v}[::2]"),
        ),
        lambda a, c: a[1::2],
        ("{v} = {v}[1::2]", "{v} = [{v}[i] for i in range(1, len({v}), 2)]", "{v} = {v}[1::2]"),
    ),
    _slipping(
        _operation(
            "window sums",
            "slice",
            (
                "Compute sums of all windows of length {c}.",
                "Slide a window of size {c} and take each sum.",
                "Sum every block of {c} neighbours.",
            ),
            lambda a, c: [sum(a[i : i + c]) for i in range(len(a) - c + 1)],
            (
                "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c} + 1)]",
                _loop("sum({v}[i:i + {c}])", "len({v}) - {c} + 1"),
                "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c} + 1)]",
            ),
            "count",
        ),
        lambda a, c: [sum(a[i : i + c]) for i in range(len(a) - c)],
        (
            "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c})]",
            _loop("sum({v}[i:i + {c}])", "len({v}) - {c}"),
            "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c})]",
        ),
    ),
)

LIST_OPERATIONS = FILTERS + MAPS + ORDERS + SCANS + SLICES
