"""Checkpoints of an interrupted training: which is the newest whole one, and sweeping away what a kill cut short."""

import json
import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a stage's folder."""


def newest_whole_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, or None. A checkpoint that was being written when its process died is removed.

    The Trainer writes `trainer_state.json` last, so a checkpoint is whole exactly when that file is.
    """
    whole: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        step = _step(checkpoint / "trainer_state.json")
        if step is None:
            shutil.rmtree(checkpoint)
        else:
            whole.append((step, checkpoint))
    return max(whole)[1] if whole else None


def _step(state: Path) -> int | None:
    try:
        return int(json.loads(state.read_text())["global_step"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
