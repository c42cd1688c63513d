"""Dual verification of one task: candidates vote on labels, labels elect the golden solution.

After Algorithm 1 of X-Coder (arXiv 2601.06953): the label of an input is what most candidates answer; the golden
solution has the best weighted score on one part of the tests and must be among the best on the held-out part.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reward.compare import canonical_output, parse_plain_json
from synth.config import VerificationSettings
from xcoder_train.core.problem import IoKind

WEIGHTS = 4
"""Test weights are 1 to 4, by quartile of input size."""


@dataclass(frozen=True, slots=True)
class Label:
    """The answer elected for the input at place `input`, the share of all candidates that gave it, and its weight.

    `vote` is the canonical form that was counted; `voter` the first candidate that gave it.
    """

    input: int
    vote: str
    voter: int
    agreement: float
    weight: int


@dataclass(frozen=True, slots=True)
class Election:
    """What dual verification decided; `reason` is None where the task is kept.

    `passed` and `scores` have one entry per candidate: labelled tests passed, and their weighted share.
    """

    reason: str | None
    labels: tuple[Label, ...]
    passed: tuple[int, ...]
    scores: tuple[float, ...]
    golden: int | None


def vote_of(output: str, io: IoKind) -> str | None:
    """The canonical form in which equal outputs are equal text; None where a function's result is no JSON value."""
    if io == "stdin":
        return canonical_output(output)
    try:
        return json.dumps(_whole_numbers_as_int(parse_plain_json(output)), sort_keys=True)
    except ValueError:
        return None


def verify(
    votes: Sequence[Sequence[str | None]],
    asked: int,
    sizes: Sequence[int],
    settings: VerificationSettings,
    seed: int,
    brute_force: Sequence[str | None] | None = None,
) -> Election:
    """Decide one task.

    `votes` has a row per candidate that holds a program and a column per input (None where its run was not OK).
    `asked` counts all candidates, those without a program too. `sizes` are the input sizes. `brute_force` holds the
    outputs of a slow and simple solution, None on inputs that are too large for it: it votes as one more candidate
    there and cannot be golden, but what it contradicts cannot be golden either.

    Reasons, in the order in which they are tested: "too few tests", "golden does not hold" (no leader of the first
    part is among the best of the held-out part), "brute force disagrees", "nobody solves all", "solved by only one". Ties: an input on which
    two answers lead together gets no label; among golden solutions that qualify, the first candidate is taken.
    """
    labels = _elect_labels(votes, asked, sizes, settings, brute_force)
    verdicts = [[row[label.input] == label.vote for label in labels] for row in votes]
    passed = tuple(sum(row) for row in verdicts)
    total = sum(label.weight for label in labels)
    scores = tuple(_weighted(row, labels, range(len(labels))) / max(total, 1) for row in verdicts)

    if len(labels) < max(settings.minimum_tests, 2):
        return Election("too few tests", labels, passed, scores, None)
    golden = _elect_golden(verdicts, labels, settings, seed)
    if golden is None:
        return Election("golden does not hold", labels, passed, scores, None)
    if brute_force is not None and any(
        s is not None and s != f for s, f in zip(brute_force, votes[golden], strict=True)
    ):
        return Election("brute force disagrees", labels, passed, scores, golden)
    solved_by = sum(count == len(labels) for count in passed)
    if solved_by == 0:
        return Election("nobody solves all", labels, passed, scores, golden)
    if solved_by == 1 and settings.drop_solved_by_one:
        return Election("solved by only one", labels, passed, scores, golden)
    return Election(None, labels, passed, scores, golden)


def split_tests(count: int, hold_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Places of the tests that elect the golden solution, and of those held out; neither part is empty."""
    order = random.Random(seed).sample(range(count), count)
    held = min(max(round(count * hold_out), 1), count - 1)
    return order[held:], order[:held]


def quartile_weights(sizes: Sequence[int]) -> list[int]:
    """1 to 4 by quartile of size; equal sizes are ranked by place."""
    order = sorted(range(len(sizes)), key=lambda place: (sizes[place], place))
    weights = [0] * len(sizes)
    for rank, place in enumerate(order):
        weights[place] = 1 + rank * WEIGHTS // len(sizes)
    return weights


def _elect_labels(
    votes: Sequence[Sequence[str | None]],
    asked: int,
    sizes: Sequence[int],
    settings: VerificationSettings,
    brute_force: Sequence[str | None] | None,
) -> tuple[Label, ...]:
    weights = quartile_weights(sizes) if settings.vote == "weighted" else [1] * len(sizes)
    labels = []
    for place in range(len(sizes)):
        column = [row[place] for row in votes]
        slow = None if brute_force is None else brute_force[place]
        leaders = Counter(vote for vote in [*column, slow] if vote is not None).most_common(2)
        if not leaders or (len(leaders) == 2 and leaders[0][1] == leaders[1][1]) or leaders[0][0] not in column:
            continue
        vote, count = leaders[0]
        voters = asked + (slow is not None)
        if count / voters >= settings.minimum_agreement:
            labels.append(Label(place, vote, column.index(vote), count / voters, weights[place]))
    return tuple(labels)


def _elect_golden(
    verdicts: Sequence[Sequence[bool]], labels: Sequence[Label], settings: VerificationSettings, seed: int
) -> int | None:
    leading, held_out = split_tests(len(labels), settings.hold_out, seed)
    first = [_weighted(row, labels, leading) for row in verdicts]
    second = [sum(row[place] for place in held_out) for row in verdicts]
    best_first, best_second = max(first), max(second)
    for candidate, (score, held) in enumerate(zip(first, second, strict=True)):
        if score == best_first and held == best_second:
            return candidate
    return None


def _weighted(row: Sequence[bool], labels: Sequence[Label], places: Sequence[int]) -> int:
    return sum(labels[place].weight for place in places if row[place])


def _whole_numbers_as_int(value: object) -> object:
    """JSON does not tell 2 from 2.0, so both become 2."""
    if isinstance(value, list):
        return [_whole_numbers_as_int(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers_as_int(item) for key, item in value.items()}
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
