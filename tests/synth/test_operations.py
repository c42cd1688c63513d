"""What operations compute, against functions written for these tests, which know nothing of the operations' codes."""

import math
import random
from collections.abc import Callable
from functools import reduce
from itertools import accumulate, pairwise
from operator import or_, xor
from typing import Any

import pytest

from synth.procedural.operations import LIST_OPERATIONS, NUMBER_OUTPUTS, WORD_OUTPUTS, Operation

Truth = Callable[..., Any]


def each(function: Callable[..., Any]) -> Truth:
    return lambda a, c: [function(x, c) for x in a]


def keep(test: Callable[..., Any]) -> Truth:
    return lambda a, c: [x for x in a if test(x, c)]


def best_sums(a: list[int]) -> list[int]:
    return [sum(a[start:end]) for start in range(len(a)) for end in range(start, len(a) + 1)]


def runs(a: list[int], goes_on: Callable[[int, int], bool]) -> list[int]:
    breaks = [0, *(place for place in range(1, len(a)) if not goes_on(a[place], a[place - 1])), len(a)]
    return [end - start for start, end in pairwise(breaks)]


NUMBERS: dict[str, tuple[Truth, Truth]] = {
    "keep even numbers": (keep(lambda x, c: not x & 1), keep(lambda x, c: x & 1)),
    "keep odd numbers": (keep(lambda x, c: x & 1), keep(lambda x, c: x & 1 and x > 0)),
    "keep greater": (keep(lambda x, c: not x <= c), keep(lambda x, c: not x < c)),
    "keep less": (keep(lambda x, c: not x >= c), keep(lambda x, c: not x > c)),
    "keep multiples": (keep(lambda x, c: c * (x // c) == x), keep(lambda x, c: x > 0 and c * (x // c) == x)),
    "remove multiples": (keep(lambda x, c: c * (x // c) != x), keep(lambda x, c: c * (x // c) == x - 1)),
    "add": (each(lambda x, c: sum((x, c))), each(lambda x, c: sum((x, c, 1)))),
    "subtract": (each(lambda x, c: x + -c), each(lambda x, c: c + -x)),
    "multiply": (each(lambda x, c: sum([x] * c)), each(lambda x, c: sum((x, c)))),
    "square": (each(lambda x, c: abs(x) ** 2), each(lambda x, c: x + x)),
    "absolute value": (each(lambda x, c: max(x, -x)), each(lambda x, c: x if x > 0 else 0)),
    "negate": (each(lambda x, c: 0 - x), each(lambda x, c: min(x, -x))),
    "remainder": (each(lambda x, c: x - c * (x // c)), each(lambda x, c: max(x, -x) % c)),
    "digit sum": (
        each(lambda x, c: sum(int(d) for d in str(x) if d != "-")),
        each(lambda x, c: len(str(x).strip("-"))),
    ),
    "sort increasing": (lambda a, c: sorted(a), lambda a, c: sorted(a)[::-1]),
    "sort decreasing": (lambda a, c: sorted(a)[::-1], lambda a, c: sorted(a)),
    "distinct": (
        lambda a, c: [x for place, x in enumerate(a) if x not in a[:place]],
        lambda a, c: sorted(dict.fromkeys(a)),
    ),
    "reverse": (lambda a, c: list(reversed(a)), lambda a, c: sorted(a)[::-1]),
    "prefix sums": (
        lambda a, c: [sum(a[: place + 1]) for place in range(len(a))],
        lambda a, c: [sum(a[:place]) for place in range(len(a))],
    ),
    "running maximum": (
        lambda a, c: [max(a[: place + 1]) for place in range(len(a))],
        lambda a, c: [min(a[: place + 1]) for place in range(len(a))],
    ),
    "differences": (
        lambda a, c: [later - earlier for earlier, later in pairwise(a)],
        lambda a, c: [earlier - later for earlier, later in pairwise(a)],
    ),
    "neighbour maximum": (lambda a, c: list(map(max, pairwise(a))), lambda a, c: list(map(min, pairwise(a)))),
    "take first": (lambda a, c: a[:c], lambda a, c: a[: c - 1]),
    "skip first": (lambda a, c: a[c:], lambda a, c: a[c:][1:]),
    "every second": (
        lambda a, c: [x for place, x in enumerate(a) if place % 2 == 0],
        lambda a, c: [x for place, x in enumerate(a) if place % 2],
    ),
    "window sums": (
        lambda a, c: [sum(a[end - c : end]) for end in range(c, len(a) + 1)],
        lambda a, c: [sum(a[end - c : end]) for end in range(c, len(a))],
    ),
}
WORDS: dict[str, tuple[Truth, Truth]] = {
    "keep longer": (keep(lambda x, c: len(x) > c), keep(lambda x, c: len(x) >= c)),
    "keep shorter": (keep(lambda x, c: len(x) < c), keep(lambda x, c: len(x) <= c)),
    "keep containing": (keep(lambda x, c: x.count(c)), keep(lambda x, c: x.startswith(c))),
    "drop containing": (keep(lambda x, c: not x.count(c)), keep(lambda x, c: not x.startswith(c))),
    "reverse each word": (each(lambda x, c: "".join(reversed(x))), lambda a, c: list(reversed(a))),
    "upper case": (each(lambda x, c: x.swapcase()), each(lambda x, c: x[:1].swapcase() + x[1:])),
    "leading letters": (each(lambda x, c: x[:c]), each(lambda x, c: x[c:])),
    "sort words": (lambda a, c: sorted(a), lambda a, c: sorted(a, key=len)),
    "distinct words": NUMBERS["distinct"],
    "reverse word order": (lambda a, c: list(reversed(a)), each(lambda x, c: "".join(reversed(x)))),
    "word lengths": (each(lambda x, c: len(list(x))), each(lambda x, c: len(dict.fromkeys(x)))),
    "letter counts": (each(lambda x, c: len(x.split(c)) - 1), each(lambda x, c: min(x.count(c), 1))),
    "distinct letter counts": (each(lambda x, c: len(dict.fromkeys(x))), each(lambda x, c: len(list(x)))),
}
ANSWERS: dict[str, tuple[Truth, Truth | None]] = {
    "sum": (lambda a: reduce(int.__add__, a, 0), lambda a: sum(dict.fromkeys(a))),
    "maximum": (lambda a: sorted(a or [0])[-1], lambda a: [0, *a][-1]),
    "minimum": (lambda a: sorted(a or [0])[0], lambda a: [*a, 0][0]),
    "count": (lambda a: sum(1 for _ in a), lambda a: len(dict.fromkeys(a))),
    "list": (list, None),
    "greatest common divisor": (lambda a: reduce(math.gcd, a, 0), lambda a: min([abs(x) for x in a] or [0])),
    "distinct count": (lambda a: len(dict.fromkeys(a)), lambda a: sum(1 for _ in a)),
    "exclusive or": (lambda a: reduce(xor, a, 0), lambda a: reduce(or_, a, 0)),
    "ascents": (
        lambda a: len([1 for earlier, later in pairwise(a) if earlier < later]),
        lambda a: len([1 for earlier, later in pairwise(a) if earlier <= later]),
    ),
    "largest subarray sum": (lambda a: max(best_sums(a), default=0), lambda a: max([0, *accumulate(a)])),
    "longest run": (
        lambda a: max(runs(a, lambda later, earlier: later >= earlier)),
        lambda a: max(runs(a, lambda later, earlier: later > earlier)),
    ),
    "word count": (lambda a: sum(1 for _ in a), lambda a: len(dict.fromkeys(a))),
    "words": (list, None),
    "joined words": (lambda a: "".join(a), None),
    "letter total": (lambda a: len("".join(a)), lambda a: sum(1 for _ in a)),
}


def values(takes: str, rng: random.Random) -> list[Any]:
    if takes == "numbers":
        return rng.choices(range(-50, 51), k=rng.randint(0, 12))
    return ["".join(rng.choices("abcde", k=rng.randint(0, 6))) for _ in range(rng.randint(0, 9))]


@pytest.mark.parametrize("operation", LIST_OPERATIONS, ids=lambda operation: operation.feature)
def test_an_operation_and_its_slip_compute_what_they_should_and_change_nothing_they_are_given(
    operation: Operation,
) -> None:
    rng = random.Random(operation.name)
    right, slip = (NUMBERS if operation.takes == "numbers" else WORDS)[operation.name]
    assert operation.slipped is not None
    for _ in range(200):
        given = values(operation.takes, rng)
        parameter = rng.choice("abcde") if operation.parameter == "letter" else rng.randint(2, 9)
        for computed, expected in ((operation, right), (operation.slipped, slip)):
            kept = list(given)
            assert computed.right.apply(given, parameter) == expected(given, parameter)
            assert given == kept


@pytest.mark.parametrize("output", NUMBER_OUTPUTS + WORD_OUTPUTS, ids=lambda output: output.feature)
def test_an_answer_and_its_slip_are_what_they_should_be(output: Operation) -> None:
    rng = random.Random(output.name)
    right, slip = ANSWERS[output.name]
    assert (output.slipped is None) == (slip is None)
    for _ in range(200):
        given = values(output.takes, rng)
        assert output.right.apply(given) == right(given)
        if output.slipped is not None and slip is not None:
            assert output.slipped.right.apply(given) == slip(given)
