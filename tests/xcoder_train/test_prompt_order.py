"""The order of prompts: by the seed alone, another in each epoch, and from easy to hard where pass rates are given."""

from collections import Counter

from trl.trainer.utils import RepeatSampler

from xcoder_core.seeds import derive_seed
from xcoder_train.grpo.prompts import GroupSampler, PromptOrder

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


def test_groups_are_laid_out_as_trl_lays_them_out() -> None:
    order = PromptOrder(7, seed=0)
    own = list(GroupSampler(order, lambda: 0, prompts_per_step=3, rollouts=2, repeats=4))
    trl = list(RepeatSampler(order.of_epoch(0), 2, batch_size=3, repeat_count=4, shuffle=False))
    assert own == [order.of_epoch(0)[place] for place in trl]
    assert len(GroupSampler(order, lambda: 0, prompts_per_step=3, rollouts=2, repeats=4)) == len(own)
    assert set(Counter(own).values()) == {2 * 4}


def test_the_epoch_is_asked_for_when_it_begins() -> None:
    epoch = 0
    order = PromptOrder(5, seed=0)
    sampler = GroupSampler(order, lambda: epoch, prompts_per_step=5, rollouts=1, repeats=1)
    first = list(sampler)
    epoch = 1
    assert [first, list(sampler)] == [order.of_epoch(0), order.of_epoch(1)]
