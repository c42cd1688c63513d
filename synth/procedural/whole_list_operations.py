"""Operations on a list of integers as a whole: its order, its running values, its slices."""

from itertools import accumulate

from synth.procedural.operation import Codes, operation

Numbers = list[int]


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


ORDERS = (
    operation(
        "sort increasing",
        "order",
        ("Sort in increasing order.", "Arrange the numbers in ascending order.", "Order from small to large."),
        lambda a, c: sorted(a),
        ("{v} = sorted({v})", "{v}.sort()", "{v} = sorted({v})"),
        slip=(
            lambda a, c: sorted(a, reverse=True),
            ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
        ),
    ),
    operation(
        "sort decreasing",
        "order",
        ("Sort in decreasing order.", "Arrange the numbers in descending order.", "Order from large to small."),
        lambda a, c: sorted(a, reverse=True),
        ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
        slip=(lambda a, c: sorted(a), ("{v} = sorted({v})", "{v}.sort()", "{v} = sorted({v})")),
    ),
    operation(
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
        slip=(lambda a, c: sorted(set(a)), ("{v} = sorted(set({v}))",) * 3),
    ),
    operation(
        "reverse",
        "order",
        ("Reverse the list.", "Read the list from right to left.", "Turn the list around."),
        lambda a, c: a[::-1],
        ("{v} = {v}[::-1]", "{v}.reverse()", "{v} = list(reversed({v}))"),
        slip=(
            lambda a, c: sorted(a, reverse=True),
            ("{v} = sorted({v}, reverse=True)", "{v}.sort(reverse=True)", "{v} = sorted({v}, reverse=True)"),
        ),
    ),
)

SCANS = (
    operation(
        "prefix sums",
        "scan",
        ("Replace the list with its prefix sums.", "Compute the running totals.", "Take all prefix sums."),
        lambda a, c: list(accumulate(a)),
        (_ACCUMULATE + "{v} = list(accumulate({v}))", _SUMS, _ACCUMULATE + "{v} = list(accumulate({v}))"),
        slip=(lambda a, c: [0, *accumulate(a)][:-1], (_SUMS_LATE,) * 3),
    ),
    operation(
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
        slip=(
            lambda a, c: _running(a, larger=False),
            (
                _ACCUMULATE + "{v} = list(accumulate({v}, min))",
                _running_loop("<"),
                _ACCUMULATE + "{v} = list(accumulate({v}, min))",
            ),
        ),
    ),
    operation(
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
        slip=(
            lambda a, c: [x - y for x, y in zip(a, a[1:], strict=False)],
            (
                "{v} = [x - y for x, y in zip({v}, {v}[1:])]",
                _loop("{v}[i] - {v}[i + 1]", "len({v}) - 1"),
                "{v} = list(map(lambda x, y: x - y, {v}, {v}[1:]))",
            ),
        ),
    ),
    operation(
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
        slip=(
            lambda a, c: [min(x, y) for x, y in zip(a, a[1:], strict=False)],
            (
                "{v} = [min(x, y) for x, y in zip({v}, {v}[1:])]",
                _loop("min({v}[i], {v}[i + 1])", "len({v}) - 1"),
                "{v} = list(map(min, {v}, {v}[1:]))",
            ),
        ),
    ),
)

SLICES = (
    operation(
        "take first",
        "slice",
        ("Keep only the first {c} elements.", "Cut the list after {c} elements.", "Leave just the first {c} elements."),
        lambda a, c: a[:c],
        _slice("{v}[:{c}]"),
        "count",
        slip=(lambda a, c: a[: c - 1], _slice("{v}[:{c} - 1]")),
    ),
    operation(
        "skip first",
        "slice",
        ("Skip the first {c} elements.", "Delete {c} elements from the front.", "Drop the first {c} elements."),
        lambda a, c: a[c:],
        _slice("{v}[{c}:]"),
        "count",
        slip=(lambda a, c: a[c + 1 :], _slice("{v}[{c} + 1:]")),
    ),
    operation(
        "every second",
        "slice",
        (
            "Keep every second element, starting with the first.",
            "Keep elements at indices 0, 2, 4 and so on.",
            "From the first element on, skip every other one.",
        ),
        lambda a, c: a[::2],
        ("{v} = {v}[::2]", "{v} = [{v}[i] for i in range(0, len({v}), 2)]", "{v} = {v}[::2]"),
        slip=(
            lambda a, c: a[1::2],
            ("{v} = {v}[1::2]", "{v} = [{v}[i] for i in range(1, len({v}), 2)]", "{v} = {v}[1::2]"),
        ),
    ),
    operation(
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
        slip=(
            lambda a, c: [sum(a[i : i + c]) for i in range(len(a) - c)],
            (
                "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c})]",
                _loop("sum({v}[i:i + {c}])", "len({v}) - {c}"),
                "{v} = [sum({v}[i:i + {c}]) for i in range(len({v}) - {c})]",
            ),
        ),
    ),
)

WHOLE_LIST_OPERATIONS = ORDERS + SCANS + SLICES
