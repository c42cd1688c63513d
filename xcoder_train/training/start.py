"""How training begins: its libraries are as we know them and quiet, its processes joined, a checkpoint taken up.

What we use of TRL and transformers that they may change without a word, private names and messages that we drop, has
its rows in `private_names.toml`. A version that lacks one is refused before anything is trained.
"""

import ctypes
import inspect
import json
import logging
import os
import re
import shutil
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from xcoder_core.errors import EnvironmentLacks
from xcoder_core.models.vllm_engine import prepare_vllm
from xcoder_train.training.settings import TrainingSettings

if TYPE_CHECKING:
    from accelerate import PartialState
    from transformers import Trainer

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a stage's folder."""

# Of glibc's mallopt, with their values in bytes; above the first, memory is the system's again once it is free. Left to
# itself, glibc keeps tensors of up to 32 MiB on a heap whose holes are another third of what is alive.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = (-3, 1 << 20), (-1, 64 << 20)


@dataclass(frozen=True)
class PrivateName:
    """A name of a class or module, or a text in its module's source, by where it stands (`module:object`)."""

    owner: str
    name: str
    why: str

    def is_there(self) -> bool:
        """Whether the installed version has it, also where only its constructor sets it."""
        try:
            owner = resolve_name(self.owner)
        except (ImportError, AttributeError):
            return False
        if hasattr(owner, self.name):
            return True
        source = inspect.getsource(inspect.getmodule(owner) or owner)
        if not self.name.isidentifier():
            return self.name in source
        return re.search(rf"\bself\.{self.name}\b[^\n]* = ", source) is not None


PRIVATE_NAMES = tuple(
    PrivateName(owner, name, why)
    for owner, names in tomllib.loads(
        Path(__file__).with_name("private_names.toml").read_text(encoding="utf-8")
    ).items()
    for name, why in names.items()
)


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


def missing(names: Iterable[PrivateName]) -> Iterator[str]:
    """One sentence for each of the names that the installed version lacks."""
    for each in names:
        if not each.is_there():
            yield f"{each.owner.replace(':', '.')} has no {each.name} ({each.why})"


def require_private_names() -> None:
    """Raise `EnvironmentLacks` where the installed TRL or transformers lacks a name that training uses."""
    lacking = list(missing(PRIVATE_NAMES))
    if lacking:
        raise EnvironmentLacks(
            f"the installed TRL or transformers is not one that this version works with: {'; '.join(lacking)}. "
            "Install the versions that pyproject.toml asks for: pip install ."
        )
