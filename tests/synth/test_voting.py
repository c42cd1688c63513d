"""Dual verification of one task, on hand-made ballots."""

import random

import pytest

from synth.config import VerificationSettings
from synth.voting import Election, quartile_weights, split_tests, verify, vote_of

RIGHT = "right"
Ballot = list[str | None]


def ballot(candidate: int, inputs: int, wrong: set[int]) -> Ballot:
    """Right everywhere but on `wrong`, where the answer is like no other candidate's."""
    return [f"wrong {candidate}" if place in wrong else RIGHT for place in range(inputs)]


def ballots(inputs: int, *wrong: set[int]) -> list[Ballot]:
    return [ballot(candidate, inputs, places) for candidate, places in enumerate(wrong)]


def decide(votes: list[Ballot], asked: int | None = None, seed: int = 0, **settings: object) -> Election:
    inputs = len(votes[0])
    options = {"minimum_task_agreement": 0, "minimum_tests": 2, "hold_out": 0.5, **settings}
    return verify(votes, asked or len(votes), list(range(inputs)), VerificationSettings.model_validate(options), seed)


def test_the_label_is_what_most_candidates_answer() -> None:
    election = decide(ballots(4, {0, 1}, set(), {2}, set()))
    assert [(label.input, label.vote) for label in election.labels] == [(place, RIGHT) for place in range(4)]
    assert [label.voter for label in election.labels] == [1, 1, 0, 0]


def test_agreement_counts_candidates_that_gave_no_program_or_no_answer() -> None:
    votes = ballots(4, set(), set(), set())
    votes[2][3] = None
    election = decide(votes, asked=4)
    assert [label.agreement for label in election.labels] == [0.75, 0.75, 0.75, 0.5]


def test_a_candidate_without_an_answer_is_not_credited_with_an_empty_one() -> None:
    votes: list[Ballot] = [[None] * 4, [""] * 4, [""] * 4, [""] * 4]
    assert decide(votes, vote="em", hold_out=0).golden == 1


def test_inputs_below_the_agreement_threshold_get_no_label() -> None:
    votes = ballots(4, set(), set(), {0}, {0})
    assert [label.input for label in decide(votes, asked=6).labels] == [1, 2, 3]
    assert [label.input for label in decide(votes, asked=6, minimum_agreement=0.3).labels] == [0, 1, 2, 3]


def test_an_input_on_which_two_answers_lead_together_gets_no_label() -> None:
    votes = ballots(4, set(), set(), set(), set())
    votes[2][1] = votes[3][1] = "other"
    assert [label.input for label in decide(votes, minimum_agreement=0.1).labels] == [0, 2, 3]


def test_a_run_that_failed_is_no_vote_even_when_most_fail_alike() -> None:
    votes = ballots(3, set(), set(), set(), set(), set())
    for candidate in (0, 1, 2):
        votes[candidate][0] = None
    election = decide(votes, minimum_agreement=0.4)
    assert election.labels[0].vote == RIGHT and election.labels[0].agreement == 0.4
    assert election.passed == (2, 2, 2, 3, 3)


def test_weights_are_size_quartiles_and_equal_sizes_rank_by_place() -> None:
    assert quartile_weights([80, 10, 70, 20, 60, 30, 50, 40]) == [4, 1, 4, 1, 3, 2, 3, 2]
    assert quartile_weights([5, 5, 5, 5]) == [1, 2, 3, 4]


def test_score_is_the_weighted_share_of_passed_tests() -> None:
    election = decide(ballots(4, {3}, set(), {0}, set()))
    assert election.scores == (0.6, 1.0, 0.9, 1.0)
    assert decide(ballots(4, {3}, set(), {0}, set()), vote="majority").scores == (0.75, 1.0, 0.75, 1.0)


def test_both_parts_of_the_tests_are_disjoint_whole_and_never_empty() -> None:
    for count in range(2, 12):
        for share in (0.01, 0.5, 0.99):
            leading, held_out = split_tests(count, share, seed=count)
            assert leading and held_out
            assert sorted(leading + held_out) == list(range(count))
    assert len(split_tests(10, 0.3, seed=1)[1]) == 3
    assert len({tuple(split_tests(10, 0.5, seed)[1]) for seed in range(20)}) > 10


def _seed_whose_leading_tests_are(wanted: set[int], count: int) -> int:
    return next(seed for seed in range(10_000) if set(split_tests(count, 0.5, seed)[0]) == wanted)


def test_weights_decide_who_is_golden() -> None:
    """Leading tests 0 and 1 weigh 1, tests 6 and 7 weigh 4. Candidate 0 fails one heavy test, candidate 1 two light."""
    seed = _seed_whose_leading_tests_are({0, 1, 6, 7}, 8)
    votes = ballots(8, {7}, {0, 1}, {6, 2}, {0, 6, 7, 3}, {1, 6, 7, 4})
    assert decide(votes, seed=seed, minimum_agreement=0).golden == 1
    assert decide(votes, seed=seed, minimum_agreement=0, vote="majority").golden == 0


def test_a_leader_that_does_not_hold_on_the_held_out_part_drops_the_task() -> None:
    """Candidate 0 leads alone and fails the held-out test 4; candidate 1 is best there but does not lead."""
    seed = _seed_whose_leading_tests_are({0, 1, 2, 3}, 8)
    election = decide(ballots(8, {4}, {0}, {1, 2, 5, 6}), seed=seed)
    assert election.reason == "golden does not hold"
    assert election.golden is None


def test_the_held_out_part_chooses_among_leaders() -> None:
    seed = _seed_whose_leading_tests_are({0, 1, 2, 3}, 8)
    election = decide(ballots(8, {4}, set(), {5}, {6}), seed=seed, drop_solved_by_one=False)
    assert (election.reason, election.golden) == (None, 1)


def test_among_equal_golden_solutions_the_first_candidate_is_taken() -> None:
    election = decide(ballots(6, {0}, set(), set(), set()))
    assert (election.reason, election.golden, election.passed) == (None, 1, (5, 6, 6, 6))


def test_too_few_labelled_tests_drop_the_task() -> None:
    votes = ballots(4, set(), set())
    assert decide(votes, minimum_tests=4).reason is None
    assert decide(votes, minimum_tests=5).reason == "too few tests"
    assert decide(ballots(1, set(), set()), minimum_tests=1).reason == "too few tests"


def test_a_task_that_nobody_solves_is_dropped() -> None:
    """Every candidate fails one test of each part, so all lead and all hold."""
    seed = _seed_whose_leading_tests_are({0, 1, 2, 3}, 8)
    election = decide(ballots(8, {0, 4}, {1, 5}, {2, 6}, {3, 7}, {0, 5}), seed=seed, vote="majority")
    assert (election.reason, election.golden) == ("nobody solves all", 0)
    kept = decide(ballots(8, {0, 4}, {1, 5}, {2, 6}, {3, 7}, {0, 5}), seed=seed, vote="majority", drop_unsolved=False)
    assert (kept.reason, kept.golden) == (None, 0)


def test_a_task_that_only_one_solves_is_dropped_unless_asked_to_stay() -> None:
    votes = ballots(6, set(), {0}, {1}, {2})
    assert decide(votes).reason == "solved by only one"
    kept = decide(votes, drop_solved_by_one=False)
    assert (kept.reason, kept.golden) == (None, 0)


def test_weights_and_hold_out_cannot_change_what_drop_unsolved_keeps() -> None:
    """Why both are needless in the default settings: who passes all tests leads on every part of them."""
    rng = random.Random(0)
    kept = 0
    for seed in range(300):
        votes = ballots(8, *({place for place in range(8) if rng.random() < 0.15} for _ in range(4)))
        ways = [{"vote": "majority", "hold_out": 0}, {"vote": "weighted", "hold_out": 0}, {"hold_out": 0.5}]
        elections = [decide(votes, seed=seed, **way) for way in ways]
        outcomes = {(election.reason, election.golden) for election in elections if election.reason is None}
        assert len(outcomes) <= 1
        assert len({election.reason is None for election in elections}) == 1
        kept += elections[0].reason is None
    assert 30 < kept < 300


@pytest.mark.parametrize(
    ("io", "one", "other", "same"),
    [
        ("stdin", "1 2 3\n", "1 2 3", True),
        ("stdin", "1 2 3", "1 2 4", False),
        ("stdin", "07", "7", True),
        ("stdin", "1\n2", "1 2", False),
        ("function", "[1, 2]", "[1,2.0]", True),
        ("function", "true", "1", False),
        ("function", '"1"', "1", False),
        ("function", '{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1}', True),
    ],
)
def test_votes_are_equal_where_the_judge_says_outputs_match(io: str, one: str, other: str, same: bool) -> None:
    from reward.compare import outputs_match, values_match

    assert (outputs_match if io == "stdin" else values_match)(one, other) is same
    assert (vote_of(one, io) == vote_of(other, io)) is same  # type: ignore[arg-type]


def test_a_function_result_that_is_no_json_is_no_vote() -> None:
    assert vote_of("NaN", "function") is None
    assert vote_of("[1,", "function") is None


def test_without_hold_out_the_best_of_all_tests_is_golden() -> None:
    """With hold-out this task is dropped: candidate 0 leads on the first part and does not hold on the other."""
    seed = _seed_whose_leading_tests_are({0, 1, 2, 3}, 8)
    votes = ballots(8, {4}, {0}, {1, 2, 5, 6})
    assert decide(votes, seed=seed, hold_out=0.5).golden is None
    assert decide(votes, seed=seed, hold_out=0, vote="weighted").golden == 1
    assert decide(votes, seed=seed, hold_out=0, vote="majority").golden == 0


def test_agreement_of_a_task_is_the_mean_share_of_leading_answers_and_has_a_bar() -> None:
    votes = ballots(4, {0}, set(), {1}, set())
    assert decide(votes, asked=5).agreement == pytest.approx((3 / 5 + 3 / 5 + 4 / 5 + 4 / 5) / 4)
    assert decide(votes, asked=5, minimum_task_agreement=0.7).reason is None
    assert decide(votes, asked=5, minimum_task_agreement=0.71).reason == "too little agreement"


def test_inputs_without_a_label_count_for_the_agreement_of_a_task() -> None:
    votes = ballots(4, set(), set(), set(), set())
    votes[2][1] = votes[3][1] = "other"
    assert decide(votes).agreement == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_the_brute_force_votes_where_it_ran_and_only_there() -> None:
    votes = ballots(4, set(), set(), set(), set())
    votes[2][1] = votes[3][1] = votes[2][2] = votes[3][2] = "other"
    settings = VerificationSettings(minimum_tests=2, minimum_agreement=0.5, vote="majority", hold_out=0)
    election = verify(votes, 4, [1, 2, 3, 4], settings, 0, brute_force=[RIGHT, RIGHT, None, None])
    assert [(label.input, label.agreement) for label in election.labels] == [(0, 1.0), (1, 0.6), (3, 1.0)]
    assert (election.reason, election.golden) == (None, 0)


def test_what_the_brute_force_contradicts_is_not_kept() -> None:
    votes = ballots(4, set(), set(), set())
    settings = VerificationSettings(minimum_tests=2, minimum_task_agreement=0)
    assert verify(votes, 3, [1, 2, 3, 4], settings, 0, brute_force=[RIGHT, None, None, None]).reason is None
    assert (
        verify(votes, 3, [1, 2, 3, 4], settings, 0, brute_force=["other", None, None, None]).reason
        == "brute force disagrees"
    )


@pytest.mark.parametrize("vote", ["majority", "weighted", "em"])
def test_an_answer_that_only_the_brute_force_gives_is_no_label(vote: str) -> None:
    votes: list[Ballot] = [[None, RIGHT, RIGHT], [None, RIGHT, RIGHT]]
    settings = VerificationSettings.model_validate({"vote": vote, "minimum_tests": 2, "minimum_agreement": 0})
    election = verify(votes, 2, [1, 2, 3], settings, 0, brute_force=["alone", None, None])
    assert [label.input for label in election.labels] == [1, 2]


def test_em_elects_the_candidate_whose_answers_are_likeliest() -> None:
    """Candidates 0 to 2 make the same mistake on input 0, but err on inputs of their own as well; 3 and 4 never do."""
    votes: list[Ballot] = [[RIGHT] * 12 for _ in range(5)]
    for candidate in range(3):
        votes[candidate][0] = "common"
        for place in range(1 + 3 * candidate, 4 + 3 * candidate):
            votes[candidate][place] = f"wrong {candidate}"
    majority = decide(votes, vote="majority", hold_out=0, minimum_agreement=0)
    em = decide(votes, vote="em", hold_out=0, minimum_agreement=0)
    assert majority.labels[0].vote == "common" and majority.reason == "nobody solves all"
    assert em.labels[0].vote == RIGHT and (em.reason, em.golden, em.passed[3]) == (None, 3, 12)
    assert em.labels[0].agreement == 0.4


def test_the_brute_force_is_an_annotator_of_em_too() -> None:
    """Without it nothing tells the two answers on input 0 apart."""
    votes = ballots(4, set(), set(), set(), set())
    votes[2][0] = votes[3][0] = "other"
    settings = VerificationSettings(minimum_tests=2, minimum_agreement=0, vote="em", hold_out=0)
    assert [label.input for label in verify(votes, 4, [1, 2, 3, 4], settings, 0).labels] == [1, 2, 3]
    labels = verify(votes, 4, [1, 2, 3, 4], settings, 0, brute_force=[RIGHT, None, None, None]).labels
    assert [label.vote for label in labels] == [RIGHT] * 4
