"""Checkpoints: when one is due, which is the newest complete one, and going on from it."""

import json
import shutil
import time
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from xcoder_train.training.trl_arguments import CHECKPOINTS


class TimedCheckpoints(TrainerCallback):
    """Checkpoints by time, beside those by steps: a step of GRPO may take hours.

    One is asked for after the step in which `minutes` have passed since the last one, or since the start.

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


def train_from_newest(trainer: Trainer, state: PartialState, folder: Path, *, resume: bool) -> int:
    """Train to the end, from the newest checkpoint in a stage's `folder` if `resume` says so; return the last step.

    An evaluation before the first step is only for a training that begins.
    """
    save_own_part = trainer._save_rng_state

    def save_and_wait(output_dir: str) -> None:
        save_own_part(output_dir)
        state.wait_for_everyone()

    trainer._save_rng_state = save_and_wait  # type: ignore[method-assign]
    with state.main_process_first():  # the first one removes half-written checkpoints
        checkpoint = newest_checkpoint(folder / CHECKPOINTS) if resume else None
    trainer.args.eval_on_start = trainer.eval_dataset is not None and checkpoint is None
    return trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint)).global_step


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, or None. A checkpoint that was being written when its process died is removed.

    `trainer_state.json` is written last, after the part of every process: with it, a checkpoint is complete.
    """
    complete: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        step = _step(checkpoint / "trainer_state.json")
        if step is None:
            shutil.rmtree(checkpoint)
        else:
            complete.append((step, checkpoint))
    return max(complete)[1] if complete else None


def _step(state: Path) -> int | None:
    try:
        return int(json.loads(state.read_text())["global_step"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
