"""Dual verification of one task: candidates vote on labels, labels elect the golden solution.

After Algorithm 1 of X-Coder (arXiv 2601.06953): the label of an input is what most candidates answer; the golden
solution has the best weighted score on one part of the tests and must be among the best on the held-out part. Beyond
it: labels by EM, a brute-force solution that votes where it can run, and a threshold on the agreement on the whole
task, which finds wrong golden solutions best (docs/verification.md).
"""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reward.compare import canonical_output, parse_plain_json
from synth.annotators import estimate_truth
from synth.config import VerificationSettings
from xcoder_core.problem import IoKind

Row = Sequence[str | None]
"""The outputs of one program, one for each input; None where its run was not OK."""

Rows = Sequence[Row]

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

    `passed` and `scores` have one entry per candidate: labelled tests passed, and their weighted share. `agreement` is
    the share of all candidates that gave the leading label, averaged over all inputs.
    """

    reason: str | None
    labels: tuple[Label, ...]
    passed: tuple[int, ...]
    scores: tuple[float, ...]
    golden: int | None
    agreement: float = 0.0


def vote_of(output: str, io: IoKind) -> str | None:
    """The canonical form in which equal outputs are equal text; None where a function's result is no JSON value."""
    if io == "stdin":
        return canonical_output(output)
    try:
        return json.dumps(_whole_numbers_as_int(parse_plain_json(output)), sort_keys=True)
    except ValueError:
        return None


def verify(
    votes: Rows,
    asked: int,
    sizes: Sequence[int],
    settings: VerificationSettings,
    seed: int,
    brute_force: Row | None = None,
) -> Election:
    """Decide one task.

    `votes` has a row for each candidate with a program. `asked` counts all candidates, `sizes` are the input sizes.
    `brute_force` is the row of a slow and simple solution, None on inputs that are too large for it: there it votes
    like another candidate. It cannot be golden, and neither can a candidate that it contradicts.

    Reasons, in the order in which they are tested: "too few tests", "too little agreement", "golden does not hold" (no
    leader of the first part is among the best of the held-out part), "brute force disagrees", "nobody solves all",
    "solved by only one". An input with two leading answers gets no label; of equal golden solutions, the first is
    taken.
    """
    polls = _count_votes(votes, asked, brute_force)
    labels, credits = _elect_labels(votes, polls, sizes, settings, brute_force)
    verdicts = [[row[label.input] == label.vote for label in labels] for row in votes]
    total = max(sum(label.weight for label in labels), 1)
    election = Election(
        reason=None,
        labels=labels,
        passed=tuple(sum(row) for row in verdicts),
        scores=tuple(
            sum(label.weight for label, right in zip(labels, row, strict=True) if right) / total for row in verdicts
        ),
        golden=None,
        agreement=sum(poll.share for poll in polls) / max(len(polls), 1),
    )
    if len(labels) < max(settings.minimum_tests, 2):
        return replace(election, reason="too few tests")
    if election.agreement < settings.minimum_task_agreement:
        return replace(election, reason="too little agreement")
    golden = _elect_golden(credits, verdicts, settings, seed)
    if golden is None:
        return replace(election, reason="golden does not hold")
    reason = None
    solved_by = sum(count == len(labels) for count in election.passed)
    if brute_force is not None and _contradicts(brute_force, votes[golden]):
        reason = "brute force disagrees"
    elif solved_by == 0 and settings.drop_unsolved:
        reason = "nobody solves all"
    elif solved_by == 1 and settings.drop_solved_by_one:
        reason = "solved by only one"
    return replace(election, reason=reason, golden=golden)


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


@dataclass(frozen=True, slots=True)
class _Poll:
    """The votes on one input: the leading answer (None where two lead together), its share, and who could vote."""

    leader: str | None
    share: float
    counts: Counter[str]
    voters: int


def _count_votes(votes: Rows, asked: int, brute_force: Row | None) -> list[_Poll]:
    polls = []
    for place in range(len(votes[0]) if votes else 0):
        counts = Counter(vote for row in _all_rows(votes, brute_force) if (vote := row[place]) is not None)
        voters = asked + (brute_force is not None and brute_force[place] is not None)
        leaders = counts.most_common(2)
        share = leaders[0][1] / voters if leaders else 0.0
        has_leader = len(leaders) == 1 or (len(leaders) == 2 and leaders[0][1] > leaders[1][1])
        polls.append(_Poll(leaders[0][0] if has_leader else None, share, counts, voters))
    return polls


def _elect_labels(
    votes: Rows, polls: Sequence[_Poll], sizes: Sequence[int], settings: VerificationSettings, brute_force: Row | None
) -> tuple[tuple[Label, ...], list[list[float]]]:
    """The labels, and what each candidate is credited with on each of them when the golden solution is chosen."""
    weights = quartile_weights(sizes) if settings.vote == "weighted" else [1] * len(sizes)
    winners = [poll.leader for poll in polls]
    posteriors: tuple[dict[str, float], ...] = ()
    if settings.vote == "em":
        posteriors = estimate_truth(_all_rows(votes, brute_force)).posteriors
        winners = [_most_likely(posterior) for posterior in posteriors]
    labels = []
    for place, (winner, poll) in enumerate(zip(winners, polls, strict=True)):
        column = [row[place] for row in votes]
        if winner is None or winner not in column:
            continue
        agreement = poll.counts[winner] / poll.voters
        if agreement >= settings.minimum_agreement:
            labels.append(Label(place, winner, column.index(winner), agreement, weights[place]))

    def credit(label: Label, vote: str | None) -> float:
        if settings.vote == "em":
            return 0.0 if vote is None else posteriors[label.input][vote]
        return float(label.weight * (vote == label.vote))

    return tuple(labels), [[credit(label, row[label.input]) for label in labels] for row in votes]


def _all_rows(votes: Rows, brute_force: Row | None) -> Rows:
    return votes if brute_force is None else [*votes, brute_force]


def _most_likely(posterior: dict[str, float]) -> str | None:
    """The output with the highest posterior; None where two share it."""
    ranked = sorted(posterior, key=lambda vote: -posterior[vote])
    if not ranked or (len(ranked) > 1 and math.isclose(posterior[ranked[0]], posterior[ranked[1]], rel_tol=1e-6)):
        return None
    return ranked[0]


def _elect_golden(
    credits: Sequence[Sequence[float]], verdicts: Sequence[Sequence[bool]], settings: VerificationSettings, seed: int
) -> int | None:
    if settings.hold_out == 0:
        totals = [sum(row) for row in credits]
        return totals.index(max(totals))
    leading, held_out = split_tests(len(credits[0]), settings.hold_out, seed)
    first = [sum(row[place] for place in leading) for row in credits]
    second = [sum(row[place] for place in held_out) for row in verdicts]
    best_first, best_second = max(first), max(second)
    for candidate, (score, held) in enumerate(zip(first, second, strict=True)):
        if score == best_first and held == best_second:
            return candidate
    return None


def _contradicts(brute_force: Row, golden: Row) -> bool:
    return any(slow is not None and slow != fast for slow, fast in zip(brute_force, golden, strict=True))


def _whole_numbers_as_int(value: object) -> object:
    """JSON does not tell 2 from 2.0, so both become 2."""
    if isinstance(value, list):
        return [_whole_numbers_as_int(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers_as_int(item) for key, item in value.items()}
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
