"""Checkpoints of an interrupted training: which is the newest complete one, and going on from it."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import Trainer

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a stage's folder."""


def train_from_newest(trainer: "Trainer", state: "PartialState", folder: Path, *, resume: bool) -> int:
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
