"""Dawid and Skene's model for open label sets, on simulated crowds whose truth is known."""

import random

import pytest

from synth.annotators import estimate_truth
from synth.config import VerificationSettings
from synth.voting import verify

RIGHT = "right"
Votes = list[list[str | None]]


def crowd(accuracies: list[float], inputs: int, seed: int, wrong: int = 2, silent: float = 0.0) -> Votes:
    """Candidates of these accuracies; a wrong answer is one of `wrong`, so wrong answers often agree."""
    rng = random.Random(seed)

    def vote(accuracy: float) -> str | None:
        if rng.random() < silent:
            return None
        return RIGHT if rng.random() < accuracy else f"wrong {rng.randrange(wrong)}"

    return [[vote(accuracy) for _ in range(inputs)] for accuracy in accuracies]


def labels_right(votes: Votes, vote: str) -> int:
    settings = VerificationSettings.model_validate(
        {"vote": vote, "minimum_agreement": 0, "minimum_tests": 2, "hold_out": 0, "drop_solved_by_one": False}
    )
    election = verify(votes, len(votes), list(range(len(votes[0]))), settings, seed=0)
    return sum(label.vote == RIGHT for label in election.labels)


SKEWED = [0.97, 0.97, 0.97, 0.3, 0.3, 0.3, 0.3, 0.3]


def test_em_finds_the_truth_where_three_good_candidates_are_outvoted_by_five_bad_ones() -> None:
    crowds = [crowd(SKEWED, 30, seed) for seed in range(40)]
    em = sum(labels_right(votes, "em") for votes in crowds) / (40 * 30)
    majority = sum(labels_right(votes, "majority") for votes in crowds) / (40 * 30)
    assert em > 0.97
    assert majority < 0.9


def test_em_tells_the_accuracy_of_each_candidate() -> None:
    accuracies = estimate_truth(crowd([0.95, 0.9, 0.8, 0.6, 0.2], 400, seed=1, wrong=4)).accuracies
    assert accuracies == pytest.approx((0.95, 0.9, 0.8, 0.6, 0.2), abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_candidates_and_of_inputs_does_not_matter(seed: int) -> None:
    votes = crowd(SKEWED, 12, seed, silent=0.1)
    estimate = estimate_truth(votes)
    rng = random.Random(seed)
    candidates, places = rng.sample(range(len(votes)), len(votes)), rng.sample(range(12), 12)
    moved = estimate_truth([[votes[candidate][place] for place in places] for candidate in candidates])
    assert moved.accuracies == pytest.approx([estimate.accuracies[candidate] for candidate in candidates], abs=1e-6)
    for place, posterior in zip(places, moved.posteriors, strict=True):
        assert posterior == pytest.approx(estimate.posteriors[place], abs=1e-6)


def test_em_is_majority_where_every_candidate_errs_as_often() -> None:
    """Each of five candidates is wrong on two inputs of its own, so nothing tells one from another."""
    votes: Votes = [[f"wrong {c}" if place // 2 == c else RIGHT for place in range(10)] for c in range(5)]
    assert labels_right(votes, "em") == labels_right(votes, "majority") == 10
    assert len({round(accuracy, 6) for accuracy in estimate_truth(votes).accuracies}) == 1


def test_two_answers_that_nothing_tells_apart_give_no_label() -> None:
    votes: Votes = [["a", RIGHT, RIGHT], ["a", RIGHT, RIGHT], ["b", RIGHT, RIGHT], ["b", RIGHT, RIGHT]]
    assert labels_right(votes, "em") == 2


def test_a_run_without_output_says_nothing_on_its_input() -> None:
    votes = crowd([0.9] * 4, 20, seed=3)
    silent: list[str | None] = [None] * 20
    with_silent = estimate_truth([*votes, silent])
    for posterior, expected in zip(with_silent.posteriors, estimate_truth(votes).posteriors, strict=True):
        assert posterior == pytest.approx(expected)
    assert with_silent.accuracies[-1] == 0.5


def test_an_answer_that_more_candidates_give_is_more_certain_and_none_is_quite() -> None:
    one, two, three = (estimate_truth([[RIGHT]] * count).posteriors[0][RIGHT] for count in (1, 2, 3))
    assert 0.5 < one < two < three < 1


def test_votes_without_any_output_have_no_truth() -> None:
    assert estimate_truth([[None, None], [None, None]]).posteriors == ({}, {})
    assert estimate_truth([]).posteriors == ()
