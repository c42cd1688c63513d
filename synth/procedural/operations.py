"""The operations: steps of a task that turn a list into a list, and those that end a task.

An operation has wordings (`wordings.toml`), its code in three styles, and the code of a slip. Codes are templates:
`{v}` is the variable that holds the values and may be overwritten, `{c}` the parameter. The code styles are, in order:
comprehension, loop, functional. What the first one computes is the truth.
"""

import textwrap
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

Kind = Literal["numbers", "words"]
AnswerType = Literal["int", "str", "list[int]", "list[str]"]
Values = list[int] | list[str]
Answer = int | str | Values
Parameter = Literal["amount", "divisor", "count", "length", "prefix", "letter"]
Code = tuple[str, str]
"""Lines, which may be none, and the expression of what they compute; in a step that is `{v}`."""

CODE_STYLES = ("comprehension", "loop", "functional")

WORDINGS = tomllib.loads(Path(__file__).with_name("wordings.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Way:
    """One way to do an operation: programs that do it, in the three styles."""

    codes: tuple[Code, Code, Code]
    computes: Code | None = None
    """What the codes compute, where they fail on what only another slip can make: an empty word."""

    @cached_property
    def apply(self) -> Callable[..., Any]:
        """What the first code computes: a function of the values and the parameter, which leaves the values alone."""
        lines, result = self.computes or self.codes[0]
        body = textwrap.indent(f"{lines}\nreturn {result}", "    ").replace("'{c}'", "c").format(v="a", c="c")
        defined: dict[str, Callable[..., object]] = {}
        exec(f"def apply(a, c=None):\n{body}", defined)  # the text is that of this file
        return defined["apply"]


@dataclass(frozen=True)
class Operation:
    """One operation of a task. `slip` is the way in which a careless programmer does it.

    A step gives values. An operation of the group "output" is the last one: it gives the answer, of which a list is
    printed with spaces between its elements.
    """

    group: str
    name: str
    right: Way
    slip: Way | None = None
    parameter: Parameter | None = None
    takes: Kind = "numbers"
    gives: Kind | AnswerType = "numbers"

    @property
    def feature(self) -> str:
        """The operation's path in the feature tree."""
        if self.group == "output":
            return f"output/{self.takes}/{self.name}"
        kind = "list" if self.takes == "numbers" else "word"
        return f"{kind} operation/{self.group}/{self.name}"

    @property
    def phrasings(self) -> tuple[str, ...]:
        """Sentences of a statement that ask for it; of the answer names ("the sum"), which fit every style's verb."""
        return tuple(WORDINGS["output" if self.group == "output" else self.takes][self.name])

    @property
    def slipped(self) -> "Operation | None":
        """The operation that a careless programmer writes instead."""
        return None if self.slip is None else replace(self, right=self.slip, slip=None)


def _way(*codes: str) -> Way:
    """The way of a step, whose codes overwrite the values."""
    first, second, third = ((code, "{v}") for code in codes)
    return Way((first, second, third))


def _kept(condition: str) -> Way:
    """Keep the elements `x` for which the condition holds."""
    return _way(
        f"{{v}} = [x for x in {{v}} if {condition}]",
        f"res = []\nfor x in {{v}}:\n    if {condition}:\n        res.append(x)\n{{v}} = res",
        f"{{v}} = list(filter(lambda x: {condition}, {{v}}))",
    )


def _kept_by_first_letter(sign: str, condition: str) -> Way:
    return replace(_kept(f"x[0] {sign} '{{c}}'"), computes=_kept(condition).codes[0])


def _replaced(expression: str, functional: str | None = None) -> Way:
    """Replace every element `x`; `functional` is what the third style maps where it needs no lambda."""
    return _way(
        f"{{v}} = [{expression} for x in {{v}}]",
        f"res = []\nfor x in {{v}}:\n    res.append({expression})\n{{v}} = res",
        f"{{v}} = list(map({functional or f'lambda x: {expression}'}, {{v}}))",
    )


def _whole(expression: str, loop: str | None = None, last: str | None = None) -> Way:
    """Replace the list by a value of it; `loop` is the second style's code, `last` the expression of the third."""
    code = f"{{v}} = {expression}"
    return _way(code, loop or code, code if last is None else f"{{v}} = {last}")


def _loop(expression: str, count: str) -> str:
    return f"res = []\nfor i in range({count}):\n    res.append({expression})\n{{v}} = res"


def _running(name: str, sign: str) -> Way:
    keep_last = f"    if res and res[-1] {sign} x:\n        x = res[-1]\n"
    library = f"from itertools import accumulate\n{{v}} = list(accumulate({{v}}, {name}))"
    loop = f"res = []\nfor x in {{v}}:\n{keep_last}    res.append(x)\n{{v}} = res"
    return _way(library, loop, library)


def _neighbours(pair: str, element: str, last: str) -> Way:
    """Replace the list by an expression of each number `x` and the next one `y`."""
    return _way(
        f"{{v}} = [{pair} for x, y in zip({{v}}, {{v}}[1:])]",
        _loop(element, "len({v}) - 1"),
        f"{{v}} = list(map({last}, {{v}}, {{v}}[1:]))",
    )


def _windows(end: str) -> Way:
    sums = f"{{v}} = [sum({{v}}[i:i + {{c}}]) for i in range({end})]"
    return _way(sums, _loop("sum({v}[i:i + {c}])", end), sums)


def _filter(name: str, right: str, slip: str, parameter: Parameter | None = None, takes: Kind = "numbers") -> Operation:
    return Operation("filter", name, _kept(right), _kept(slip), parameter, takes, takes)


def _map(name: str, right: str, slip: str, parameter: Parameter | None = None, takes: Kind = "numbers") -> Operation:
    return Operation("map", name, _replaced(right), _replaced(slip), parameter, takes, takes)


_word_filter, _word_map = partial(_filter, takes="words"), partial(_map, takes="words")
_letter_filter = partial(Operation, "filter", parameter="letter", takes="words", gives="words")
_measure = partial(Operation, "measure", takes="words")
_words_to_words = partial(Operation, takes="words", gives="words")

_DISTINCT_LOOP = "res = []\nfor x in {v}:\n    if x not in res:\n        res.append(x)\n{v} = res"
_SUMS = "from itertools import accumulate\n{v} = list(accumulate({v}))"
_SUMS_LOOP = "res = []\ns = 0\nfor x in {v}:\n    s += x\n    res.append(s)\n{v} = res"
_SUMS_LATE = "res = []\ns = 0\nfor x in {v}:\n    res.append(s)\n    s += x\n{v} = res"

_RISING = _whole("sorted({v})", "{v}.sort()")
_FALLING = _whole("sorted({v}, reverse=True)", "{v}.sort(reverse=True)")
_BY_LENGTH = _whole("sorted({v}, key=len)", "{v}.sort(key=len)")
_DISTINCT = _whole("list(dict.fromkeys({v}))", _DISTINCT_LOOP)
_SORTED_SET = _whole("sorted(set({v}))")
_REVERSED = _whole("{v}[::-1]", "{v}.reverse()", "list(reversed({v}))")
_EACH_REVERSED = _replaced("x[::-1]")

LIST_OPERATIONS = (
    _filter("keep even numbers", "x % 2 == 0", "x % 2 != 0"),
    _filter("keep odd numbers", "x % 2 == 1", "x % 2 == 1 and x > 0"),
    _filter("keep greater", "x > {c}", "x >= {c}", "amount"),
    _filter("keep less", "x < {c}", "x <= {c}", "amount"),
    _filter("keep multiples", "x % {c} == 0", "x % {c} == 0 and x > 0", "divisor"),
    _filter("remove multiples", "x % {c} != 0", "x % {c} == 1", "divisor"),
    _map("add", "x + {c}", "x + {c} + 1", "amount"),
    _map("subtract", "x - {c}", "{c} - x", "amount"),
    _map("multiply", "x * {c}", "x + {c}", "amount"),
    _map("square", "x * x", "x * 2"),
    _map("absolute value", "abs(x)", "max(x, 0)"),
    _map("negate", "-x", "-abs(x)"),
    _map("remainder", "x % {c}", "abs(x) % {c}", "divisor"),
    _map("digit sum", "sum(map(int, str(abs(x))))", "len(str(abs(x)))"),
    Operation("order", "sort increasing", _RISING, _FALLING),
    Operation("order", "sort decreasing", _FALLING, _RISING),
    Operation("order", "distinct", _DISTINCT, _SORTED_SET),
    Operation("order", "reverse", _REVERSED, _FALLING),
    Operation("scan", "prefix sums", _way(_SUMS, _SUMS_LOOP, _SUMS), _way(*[_SUMS_LATE] * 3)),
    Operation("scan", "running maximum", _running("max", ">"), _running("min", "<")),
    Operation(
        "scan",
        "differences",
        _neighbours("y - x", "{v}[i + 1] - {v}[i]", "lambda x, y: y - x"),
        _neighbours("x - y", "{v}[i] - {v}[i + 1]", "lambda x, y: x - y"),
    ),
    Operation(
        "scan",
        "neighbour maximum",
        _neighbours("max(x, y)", "max({v}[i], {v}[i + 1])", "max"),
        _neighbours("min(x, y)", "min({v}[i], {v}[i + 1])", "min"),
    ),
    Operation("slice", "take first", _whole("{v}[:{c}]"), _whole("{v}[:{c} - 1]"), "count"),
    Operation("slice", "skip first", _whole("{v}[{c}:]"), _whole("{v}[{c} + 1:]"), "count"),
    Operation(
        "slice",
        "every second",
        _whole("{v}[::2]", "{v} = [{v}[i] for i in range(0, len({v}), 2)]"),
        _whole("{v}[1::2]", "{v} = [{v}[i] for i in range(1, len({v}), 2)]"),
    ),
    Operation("slice", "window sums", _windows("len({v}) - {c} + 1"), _windows("len({v}) - {c}"), "count"),
    _word_filter("keep longer", "len(x) > {c}", "len(x) >= {c}", "length"),
    _word_filter("keep shorter", "len(x) < {c}", "len(x) <= {c}", "length"),
    _letter_filter("keep containing", _kept("'{c}' in x"), _kept_by_first_letter("==", "x.startswith('{c}')")),
    _letter_filter("drop containing", _kept("'{c}' not in x"), _kept_by_first_letter("!=", "not x.startswith('{c}')")),
    _words_to_words("map", "reverse each word", _EACH_REVERSED, _REVERSED),
    _word_map("upper case", "x.upper()", "x.capitalize()"),
    _word_map("leading letters", "x[:{c}]", "x[{c}:]", "prefix"),
    _words_to_words("order", "sort words", _RISING, _BY_LENGTH),
    _words_to_words("order", "distinct words", _DISTINCT, _SORTED_SET),
    _words_to_words("order", "reverse word order", _REVERSED, _EACH_REVERSED),
    _measure("word lengths", _replaced("len(x)", "len"), _replaced("len(set(x))")),
    _measure("letter counts", _replaced("x.count('{c}')"), _replaced("int('{c}' in x)"), "letter"),
    _measure("distinct letter counts", _replaced("len(set(x))"), _replaced("len(x)")),
)


def _expression(expression: str, loop: tuple[str, str] | None = None) -> Way:
    """The answer is one expression; `loop` is the second style's code where it goes another way."""
    return Way((("", expression), loop or ("", expression), (f"ans = {expression}", "ans")))


def _count_pairs(sign: str) -> Way:
    codes = (
        ("", f"sum(y {sign} x for x, y in zip({{v}}, {{v}}[1:]))"),
        (f"c = 0\nfor i in range(1, len({{v}})):\n    if {{v}}[i] {sign} {{v}}[i - 1]:\n        c += 1", "c"),
        (f"ans = sum(map(lambda x, y: y {sign} x, {{v}}, {{v}}[1:]))", "ans"),
    )
    return Way(codes)


def _longest_run(sign: str) -> Way:
    lines = (
        f"best = cur = 0\nfor i in range(len({{v}})):\n    if i and {{v}}[i] {sign} {{v}}[i - 1]:\n        cur += 1\n"
        "    else:\n        cur = 1\n    best = max(best, cur)"
    )
    return Way(((lines, "best"),) * 3)


_SUM_LOOP = ("s = 0\nfor x in {v}:\n    s += x", "s")
_COUNT_LOOP = ("c = 0\nfor x in {v}:\n    c += 1", "c")
_LETTERS = (
    ("", "sum(len(x) for x in {v})"),
    ("s = 0\nfor x in {v}:\n    s += len(x)", "s"),
    ("ans = sum(map(len, {v}))", "ans"),
)
_GCD = (
    ("import math", "math.gcd(*{v})"),
    ("from math import gcd\ng = 0\nfor x in {v}:\n    g = gcd(g, x)", "g"),
    ("import math\nans = math.gcd(*{v})", "ans"),
)
_XOR_LOOP = ("r = 0\nfor x in {v}:\n    r ^= x", "r")
_XOR_REDUCE = ("from functools import reduce\nans = reduce(lambda x, y: x ^ y, {v}, 0)", "ans")
_OR_LOOP = ("r = 0\nfor x in {v}:\n    r |= x", "r")
_SUBARRAY = ("best = cur = 0\nfor x in {v}:\n    cur = max(0, cur + x)\n    best = max(best, cur)", "best")
_SUBARRAY_SLIP = ("best = cur = 0\nfor x in {v}:\n    cur = cur + x\n    best = max(best, cur)", "best")
_JOIN_LOOP = ("s = ''\nfor x in {v}:\n    s += x", "s")

_COUNT = _expression("len({v})", _COUNT_LOOP)
_LENGTH = _expression("len({v})")
_DISTINCT_COUNT = _expression("len(set({v}))")
_EVERYTHING = _expression("{v}")

_output = partial(Operation, "output", gives="int")

NUMBER_OUTPUTS = (
    _output("sum", _expression("sum({v})", _SUM_LOOP), _expression("sum(set({v}))")),
    _output("maximum", _expression("max({v}, default=0)"), _expression("{v}[-1] if {v} else 0")),
    _output("minimum", _expression("min({v}, default=0)"), _expression("{v}[0] if {v} else 0")),
    _output("count", _COUNT, _DISTINCT_COUNT),
    _output("list", _EVERYTHING, gives="list[int]"),
    _output("greatest common divisor", Way(_GCD), _expression("min(map(abs, {v}), default=0)")),
    _output("distinct count", _DISTINCT_COUNT, _LENGTH),
    _output("exclusive or", Way((_XOR_LOOP, _XOR_LOOP, _XOR_REDUCE)), Way((_OR_LOOP,) * 3)),
    _output("ascents", _count_pairs(">"), _count_pairs(">=")),
    _output("largest subarray sum", Way((_SUBARRAY,) * 3), Way((_SUBARRAY_SLIP,) * 3)),
    _output("longest run", _longest_run(">="), _longest_run(">")),
)

WORD_OUTPUTS = (
    _output("word count", _COUNT, _DISTINCT_COUNT, takes="words"),
    _output("words", _EVERYTHING, takes="words", gives="list[str]"),
    _output("joined words", _expression("''.join({v})", _JOIN_LOOP), takes="words", gives="str"),
    _output("letter total", Way(_LETTERS), _LENGTH, takes="words"),
)
