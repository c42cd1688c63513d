"""Checkpoints by time, beside those by steps: a step of GRPO may take hours."""

import time

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class TimedCheckpoints(TrainerCallback):
    """Asks for a checkpoint after the step in which `minutes` have passed since the last one, or since the start.

    The first process decides for all of them, since their clocks differ. Only every `every`-th step may have one: a
    checkpoint holds no rollouts, so a training that went on before they are used up would make others. None asks never.
    """

    def __init__(self, minutes: float | None, every: int = 1) -> None:
        self.minutes, self.every = minutes, every
        self._last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Decide after a step, once the Trainer has decided by its number."""
        if self.minutes is not None and state.global_step % self.every == 0:
            is_due = [time.monotonic() - self._last >= 60 * self.minutes]
            broadcast_object_list(is_due)
            control.should_save = control.should_save or is_due[0]

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Count from this checkpoint, whatever asked for it."""
        self._last = time.monotonic()
