"""This process among those that train together."""

from datetime import timedelta

import torch
from accelerate import PartialState

from xcoder_train.training_settings import TrainingSettings


def join_processes(training: TrainingSettings) -> PartialState:
    """Join the launcher's other processes, if there are any; they wait `training.ddp_timeout` seconds for each other.

    transformers hands that time to a group of processes that it makes itself, and this one is made before. Left
    to torch, a process on a GPU would be taken for dead after ten minutes, such as those of a long judgement.
    """
    patience = timedelta(seconds=training.ddp_timeout)
    return PartialState(cpu=not torch.cuda.is_available(), timeout=patience)
