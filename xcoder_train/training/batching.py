"""Batch arithmetic: from examples or completions per step to micro-batches on each device. No torch in here."""

import math
from dataclasses import dataclass

from xcoder_core.errors import InputError


@dataclass(frozen=True)
class BatchPlan:
    """How one optimiser step is divided: `micro_batch` rows x `accumulation` passes x `processes`."""

    micro_batch: int
    accumulation: int
    processes: int
    examples_per_row: float

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimiser step over all processes."""
        return self.micro_batch * self.accumulation * self.processes

    @property
    def examples_per_step(self) -> float:
        """Examples of one optimiser step, on average when rows are packed."""
        return self.rows_per_step * self.examples_per_row


def plan_sft_batch(examples: int, examples_per_row: float, processes: int, micro_batch: int) -> BatchPlan:
    """Rows nearest to `examples` a step that divide evenly over processes and passes of `micro_batch` rows at most."""
    rows_per_process = max(1, round(examples / examples_per_row / processes))
    accumulation = math.ceil(rows_per_process / micro_batch)
    return BatchPlan(math.ceil(rows_per_process / accumulation), accumulation, processes, examples_per_row)


def plan_grpo_batch(prompts: int, rollouts: int, processes: int, micro_batch: int) -> BatchPlan:
    """Micro-batches of one step's completions. Raises `InputError` with the numbers where they do not divide."""
    completions = prompts * rollouts
    if completions % (micro_batch * processes):
        raise InputError(
            f"grpo: {prompts} prompts_per_step x {rollouts} rollouts = {completions} completions a step, which "
            f"micro_batch {micro_batch} x {processes} processes = {micro_batch * processes} does not divide"
        )
    return BatchPlan(micro_batch, completions // (micro_batch * processes), processes, 1.0)
