"""The operations: those that turn a list of numbers or words into a list, and those that end a task.

A row says what the operation computes and the expression that computes it in a program, then the same of its slip.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from itertools import accumulate, pairwise
from operator import ge, gt, xor

from synth.procedural.operation import Answer, Kind, Operation, OutputOperation, Parameter, Way

Element = tuple[Callable[..., object], str]
"""What is computed of an element `x` or a list `a`, and the parameter `c`, and the same as an expression of Python."""


def _filter(
    name: str, right: Element, slip: Element, parameter: Parameter | None = None, takes: Kind = "numbers"
) -> Operation:
    return Operation("filter", name, _kept(*right), _kept(*slip), parameter, takes, takes)


def _map(
    name: str, right: Element, slip: Element, parameter: Parameter | None = None, takes: Kind = "numbers"
) -> Operation:
    return Operation("map", name, _replaced(*right), _replaced(*slip), parameter, takes, takes)


_word_filter, _word_map = partial(_filter, takes="words"), partial(_map, takes="words")


def _measure(name: str, right: Element, slip: Element, parameter: Parameter | None = None) -> Operation:
    return Operation("measure", name, _replaced(*right), _replaced(*slip), parameter, takes="words")


def _slice(name: str, right: Element, slip: Element) -> Operation:
    return Operation("slice", name, _whole(*right), _whole(*slip), "count")


def _kept(test: Callable[..., object], condition: str) -> Way[str]:
    """Keep the elements that pass the test."""
    codes = (
        f"{{v}} = [x for x in {{v}} if {condition}]",
        f"res = []\nfor x in {{v}}:\n    if {condition}:\n        res.append(x)\n{{v}} = res",
        f"{{v}} = list(filter(lambda x: {condition}, {{v}}))",
    )
    return Way(lambda a, c: [x for x in a if test(x, c)], codes)


def _replaced(value: Callable[..., object], expression: str, functional: str | None = None) -> Way[str]:
    """Replace every element; `functional` is what the third style maps where it needs no lambda."""
    codes = (
        f"{{v}} = [{expression} for x in {{v}}]",
        f"res = []\nfor x in {{v}}:\n    res.append({expression})\n{{v}} = res",
        f"{{v}} = list(map({functional or f'lambda x: {expression}'}, {{v}}))",
    )
    return Way(lambda a, c: [value(x, c) for x in a], codes)


def _whole(value: Callable[..., object], expression: str, loop: str | None = None, last: str | None = None) -> Way[str]:
    """Replace the list by a value of it; `loop` is the second style's code, `last` the expression of the third."""
    code = f"{{v}} = {expression}"
    return Way(value, (code, loop or code, code if last is None else f"{{v}} = {last}"))


def _loop(expression: str, count: str) -> str:
    return f"res = []\nfor i in range({count}):\n    res.append({expression})\n{{v}} = res"


def _running(function: Callable[..., int], name: str, sign: str) -> Way[str]:
    keep_last = f"    if res and res[-1] {sign} x:\n        x = res[-1]\n"
    library = f"from itertools import accumulate\n{{v}} = list(accumulate({{v}}, {name}))"
    loop = f"res = []\nfor x in {{v}}:\n{keep_last}    res.append(x)\n{{v}} = res"
    return Way(lambda a, c: list(accumulate(a, function)), (library, loop, library))


def _neighbours(function: Callable[..., int], pair: str, element: str, last: str) -> Way[str]:
    """Replace the list by a function of each number `x` and the next one `y`."""
    codes = (
        f"{{v}} = [{pair} for x, y in zip({{v}}, {{v}}[1:])]",
        _loop(element, "len({v}) - 1"),
        f"{{v}} = list(map({last}, {{v}}, {{v}}[1:]))",
    )
    return Way(lambda a, c: [function(x, y) for x, y in zip(a, a[1:], strict=False)], codes)


def _windows(end: str, shorter: int) -> Way[str]:
    sums = f"{{v}} = [sum({{v}}[i:i + {{c}}]) for i in range({end})]"
    return Way(
        lambda a, c: [sum(a[i : i + c]) for i in range(len(a) - c + 1 - shorter)],
        (sums, _loop("sum({v}[i:i + {c}])", end), sums),
    )


_DISTINCT_LOOP = "res = []\nfor x in {v}:\n    if x not in res:\n        res.append(x)\n{v} = res"
_SUMS = "from itertools import accumulate\n{v} = list(accumulate({v}))"
_SUMS_LOOP = "res = []\ns = 0\nfor x in {v}:\n    s += x\n    res.append(s)\n{v} = res"
_SUMS_LATE = "res = []\ns = 0\nfor x in {v}:\n    res.append(s)\n    s += x\n{v} = res"

_RISING = _whole(lambda a, c: sorted(a), "sorted({v})", "{v}.sort()")
_FALLING = _whole(lambda a, c: sorted(a, reverse=True), "sorted({v}, reverse=True)", "{v}.sort(reverse=True)")
_BY_LENGTH = _whole(lambda a, c: sorted(a, key=len), "sorted({v}, key=len)", "{v}.sort(key=len)")
_DISTINCT = _whole(lambda a, c: list(dict.fromkeys(a)), "list(dict.fromkeys({v}))", _DISTINCT_LOOP)
_SORTED_SET = _whole(lambda a, c: sorted(set(a)), "sorted(set({v}))")
_REVERSED = _whole(lambda a, c: a[::-1], "{v}[::-1]", "{v}.reverse()", "list(reversed({v}))")
_EACH_REVERSED = _replaced(lambda x, c: x[::-1], "x[::-1]")

LIST_OPERATIONS = (
    _filter("keep even numbers", (lambda x, c: x % 2 == 0, "x % 2 == 0"), (lambda x, c: x % 2, "x % 2 != 0")),
    _filter(
        "keep odd numbers",
        (lambda x, c: x % 2, "x % 2 == 1"),
        (lambda x, c: x % 2 == 1 and x > 0, "x % 2 == 1 and x > 0"),
    ),
    _filter("keep greater", (lambda x, c: x > c, "x > {c}"), (lambda x, c: x >= c, "x >= {c}"), "amount"),
    _filter("keep less", (lambda x, c: x < c, "x < {c}"), (lambda x, c: x <= c, "x <= {c}"), "amount"),
    _filter(
        "keep multiples",
        (lambda x, c: x % c == 0, "x % {c} == 0"),
        (lambda x, c: x % c == 0 and x > 0, "x % {c} == 0 and x > 0"),
        "divisor",
    ),
    _filter(
        "remove multiples", (lambda x, c: x % c, "x % {c} != 0"), (lambda x, c: x % c == 1, "x % {c} == 1"), "divisor"
    ),
    _map("add", (lambda x, c: x + c, "x + {c}"), (lambda x, c: x + c + 1, "x + {c} + 1"), "amount"),
    _map("subtract", (lambda x, c: x - c, "x - {c}"), (lambda x, c: c - x, "{c} - x"), "amount"),
    _map("multiply", (lambda x, c: x * c, "x * {c}"), (lambda x, c: x + c, "x + {c}"), "amount"),
    _map("square", (lambda x, c: x * x, "x * x"), (lambda x, c: x * 2, "x * 2")),
    _map("absolute value", (lambda x, c: abs(x), "abs(x)"), (lambda x, c: max(x, 0), "max(x, 0)")),
    _map("negate", (lambda x, c: -x, "-x"), (lambda x, c: -abs(x), "-abs(x)")),
    _map("remainder", (lambda x, c: x % c, "x % {c}"), (lambda x, c: abs(x) % c, "abs(x) % {c}"), "divisor"),
    _map(
        "digit sum",
        (lambda x, c: sum(map(int, str(abs(x)))), "sum(map(int, str(abs(x))))"),
        (lambda x, c: len(str(abs(x))), "len(str(abs(x)))"),
    ),
    Operation("order", "sort increasing", _RISING, _FALLING),
    Operation("order", "sort decreasing", _FALLING, _RISING),
    Operation("order", "distinct", _DISTINCT, _SORTED_SET),
    Operation("order", "reverse", _REVERSED, _FALLING),
    Operation(
        "scan",
        "prefix sums",
        Way(lambda a, c: list(accumulate(a)), (_SUMS, _SUMS_LOOP, _SUMS)),
        Way(lambda a, c: [0, *accumulate(a)][:-1], (_SUMS_LATE,) * 3),
    ),
    Operation("scan", "running maximum", _running(max, "max", ">"), _running(min, "min", "<")),
    Operation(
        "scan",
        "differences",
        _neighbours(lambda x, y: y - x, "y - x", "{v}[i + 1] - {v}[i]", "lambda x, y: y - x"),
        _neighbours(lambda x, y: x - y, "x - y", "{v}[i] - {v}[i + 1]", "lambda x, y: x - y"),
    ),
    Operation(
        "scan",
        "neighbour maximum",
        _neighbours(max, "max(x, y)", "max({v}[i], {v}[i + 1])", "max"),
        _neighbours(min, "min(x, y)", "min({v}[i], {v}[i + 1])", "min"),
    ),
    _slice("take first", (lambda a, c: a[:c], "{v}[:{c}]"), (lambda a, c: a[: c - 1], "{v}[:{c} - 1]")),
    _slice("skip first", (lambda a, c: a[c:], "{v}[{c}:]"), (lambda a, c: a[c + 1 :], "{v}[{c} + 1:]")),
    Operation(
        "slice",
        "every second",
        _whole(lambda a, c: a[::2], "{v}[::2]", "{v} = [{v}[i] for i in range(0, len({v}), 2)]"),
        _whole(lambda a, c: a[1::2], "{v}[1::2]", "{v} = [{v}[i] for i in range(1, len({v}), 2)]"),
    ),
    Operation("slice", "window sums", _windows("len({v}) - {c} + 1", 0), _windows("len({v}) - {c}", 1), "count"),
    _word_filter(
        "keep longer", (lambda x, c: len(x) > c, "len(x) > {c}"), (lambda x, c: len(x) >= c, "len(x) >= {c}"), "length"
    ),
    _word_filter(
        "keep shorter", (lambda x, c: len(x) < c, "len(x) < {c}"), (lambda x, c: len(x) <= c, "len(x) <= {c}"), "length"
    ),
    _word_filter(
        "keep containing",
        (lambda x, c: c in x, "'{c}' in x"),
        (lambda x, c: x.startswith(c), "x[0] == '{c}'"),
        "letter",
    ),
    _word_filter(
        "drop containing",
        (lambda x, c: c not in x, "'{c}' not in x"),
        (lambda x, c: not x.startswith(c), "x[0] != '{c}'"),
        "letter",
    ),
    Operation("map", "reverse each word", _EACH_REVERSED, _REVERSED, None, "words", "words"),
    _word_map("upper case", (lambda x, c: x.upper(), "x.upper()"), (lambda x, c: x.capitalize(), "x.capitalize()")),
    _word_map("leading letters", (lambda x, c: x[:c], "x[:{c}]"), (lambda x, c: x[c:], "x[{c}:]"), "prefix"),
    Operation("order", "sort words", _RISING, _BY_LENGTH, None, "words", "words"),
    Operation("order", "distinct words", _DISTINCT, _SORTED_SET, None, "words", "words"),
    Operation("order", "reverse word order", _REVERSED, _EACH_REVERSED, None, "words", "words"),
    Operation(
        "measure",
        "word lengths",
        _replaced(lambda x, c: len(x), "len(x)", "len"),
        _replaced(lambda x, c: len(set(x)), "len(set(x))"),
        takes="words",
    ),
    _measure(
        "letter counts",
        (lambda x, c: x.count(c), "x.count('{c}')"),
        (lambda x, c: int(c in x), "int('{c}' in x)"),
        "letter",
    ),
    _measure("distinct letter counts", (lambda x, c: len(set(x)), "len(set(x))"), (lambda x, c: len(x), "len(x)")),
)


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
