"""How training begins: its libraries are as we know them and quiet, its processes joined, a checkpoint taken up."""

import ctypes
import json
import logging
import os
import shutil
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from xcoder_core.models.vllm_engine import prepare_vllm
from xcoder_train.training.private_names import require_private_names
from xcoder_train.training.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import Trainer

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a stage's folder."""

# Of glibc's mallopt, with their values in bytes; above the first, memory is the system's again once it is free. Left to
# itself, glibc keeps tensors of up to 32 MiB on a heap whose holes are another third of what is alive.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = (-3, 1 << 20), (-1, 64 << 20)


def begin_training(settings: TrainingSettings) -> "PartialState":
    """Check and quiet the libraries, and join the other processes. Raises `EnvironmentLacks`."""
    quiet_libraries()
    require_private_names()
    return join_processes(settings)


def quiet_libraries() -> None:
    """Turn off the progress bars and notices of datasets, transformers and TRL that a user can do nothing about."""
    import datasets
    import transformers

    prepare_vllm()  # which TRL imports too
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    # TRL sets an argument that transformers has renamed; both are pinned, and the values agree.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # TRL calls a model by the name that an argument had before transformers 5.24; the old name works up to 5.40.
    warnings.filterwarnings("ignore", message="`past_key_values` is deprecated", category=FutureWarning)
    # Checkpoints made within a second are put in order by their step, which is what we want.
    _silence("transformers.trainer_utils", "mtime")
    # Between two starts of one stage only how often it is evaluated may change: all else would be another stage.
    _silence("transformers.trainer_utils", "eval_steps:")
    # A rollout that could not be judged: TRL prints all of it, and `judge/excluded` counts it.
    _silence("trl.trainer.grpo_trainer", "All reward functions returned None")
    # `rollout_func` is marked experimental; the pinned version has it, and tests hold it.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


def _silence(logger: str, words: str) -> None:
    """Drop a logger's messages that contain these words."""
    logging.getLogger(logger).addFilter(lambda record: words not in record.getMessage())


def join_processes(settings: TrainingSettings) -> "PartialState":
    """Join the launcher's other processes, if there are any; they wait `training.ddp_timeout` seconds for each other.

    transformers hands that time to a group of processes that it makes itself, and this one is made before. Left
    to torch, a process on a GPU would be taken for dead after ten minutes, such as those of a long judgement.
    """
    import torch
    from accelerate import PartialState

    allocator = getattr(ctypes.CDLL(None), "mallopt", None)  # another libc than glibc has no such heap
    if allocator is not None and not torch.cuda.is_available():
        for name, size in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            allocator(name, size)
    patience = timedelta(seconds=settings.ddp_timeout)
    return PartialState(cpu=not torch.cuda.is_available(), timeout=patience)


def train_from_newest(trainer: "Trainer", state: "PartialState", folder: Path, *, resume: bool) -> int:
    """Train to the end, from the newest checkpoint in a stage's `folder` if `resume` says so; return the last step.

    An evaluation before the first step is only for a training that begins.
    """
    with state.main_process_first():  # the first one removes half-written checkpoints
        checkpoint = newest_checkpoint(folder / CHECKPOINTS) if resume else None
    trainer.args.eval_on_start = trainer.eval_dataset is not None and checkpoint is None
    return trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint)).global_step


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, or None. A checkpoint that was being written when its process died is removed.

    The Trainer writes `trainer_state.json` last, so a checkpoint is complete exactly when that file is.
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
