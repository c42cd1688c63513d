"""The order of prompts: by the seed alone, another in each epoch, and from easy to hard where pass rates are given."""

from trl.trainer.utils import RepeatSampler

from xcoder_core.seeds import derive_seed
from xcoder_train.grpo.prompts import PromptOrder

RATES = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4]


def test_an_epoch_holds_every_prompt_once_in_an_order_of_its_own() -> None:
    order = PromptOrder(50, seed=3)
    epochs = [order.of_epoch(epoch) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order.of_epoch(2) == epochs[2]
    assert PromptOrder(50, seed=4).of_epoch(0) != epochs[0]


def test_the_first_epoch_is_what_trl_draws_from_the_trainers_seed() -> None:
    seed = derive_seed(3, "grpo", "trainer") % 2**31
    assert PromptOrder(50, seed=3).of_epoch(0) == list(RepeatSampler(range(50), 1, batch_size=50, seed=seed))


def test_without_mixing_the_easiest_comes_first_and_equals_are_shuffled() -> None:
    assert [RATES[n] for n in PromptOrder(8, 0, RATES, mixing=0).of_epoch(0)] == sorted(RATES, reverse=True)
    equals = PromptOrder(8, 0, [0.5] * 4 + [0.1] * 4, mixing=0)
    first, second = equals.of_epoch(0), equals.of_epoch(1)
    assert set(first[:4]) == set(second[:4]) == {0, 1, 2, 3}
    assert first != second


def test_mixing_moves_prompts_and_does_not_turn_the_order_round() -> None:
    rates = [n / 400 for n in range(400)]

    def mean_rate_of_first_half(mixing: float) -> float:
        return sum(rates[n] for n in PromptOrder(400, 1, rates, mixing).of_epoch(0)[:200]) / 200

    strict, mixed, shuffled = map(mean_rate_of_first_half, (0.0, 0.5, 1.0))
    assert strict > mixed + 0.02 > shuffled + 0.05
    assert abs(shuffled - 0.5) < 0.06


def test_prompts_follow_in_the_slots_of_all_epochs_and_those_that_fill_no_step_are_left_out() -> None:
    order = PromptOrder(7, seed=0)
    first, second = order.of_epoch(0), order.of_epoch(1)
    assert order.prompts_of(range(0, 12), 3) == [*first[:6], *second[:6]]
    assert order.prompts_of(range(5, 9), 1) == [*first[5:], *second[:2]]
    trl = list(RepeatSampler(range(7), 1, batch_size=3, seed=derive_seed(0, "grpo", "trainer") % 2**31))
    assert order.prompts_of(range(6), 3) == trl
