"""The arithmetic of batches."""

import pytest

from xcoder_core.errors import InputError
from xcoder_train.training.arithmetic import plan_grpo_batch, plan_sft_batch


@pytest.mark.parametrize("examples", [1, 7, 16, 100, 128])
@pytest.mark.parametrize("per_row", [1.0, 1.8, 13.7])
@pytest.mark.parametrize("processes", [1, 3, 8])
@pytest.mark.parametrize("micro_batch", [1, 5, 16])
def test_sft_rows_are_the_nearest_to_the_examples_asked_for(
    examples: int, per_row: float, processes: int, micro_batch: int
) -> None:
    plan = plan_sft_batch(examples, per_row, processes, micro_batch)
    assert 1 <= plan.micro_batch <= micro_batch
    assert plan.rows_per_step == plan.micro_batch * plan.accumulation * processes
    # One row more or less per process, and the last pass filled up.
    assert abs(plan.rows_per_step - examples / per_row) <= processes * plan.accumulation + processes / 2


def test_the_papers_batch_of_128_examples_is_72_packed_rows() -> None:
    plan = plan_sft_batch(128, 1.78, processes=8, micro_batch=1)
    assert (plan.rows_per_step, plan.accumulation) == (72, 9)
    assert plan.examples_per_step == pytest.approx(128.16)


def test_without_packing_the_batch_is_exactly_what_was_asked_for() -> None:
    plan = plan_sft_batch(96, 1.0, processes=2, micro_batch=16)
    assert (plan.micro_batch, plan.accumulation, plan.examples_per_step) == (16, 3, 96)


def test_a_grpo_step_holds_exactly_its_completions() -> None:
    plan = plan_grpo_batch(prompts=64, rollouts=8, processes=4, micro_batch=16)
    assert (plan.accumulation, plan.rows_per_step) == (8, 512)


def test_a_grpo_batch_that_does_not_divide_is_refused_with_the_numbers() -> None:
    with pytest.raises(InputError, match=r"\(10\) x rollouts \(6\) = 60 .* \(8\) x launch\.processes \(2\) = 16"):
        plan_grpo_batch(prompts=10, rollouts=6, processes=2, micro_batch=8)
