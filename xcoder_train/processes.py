"""This process among those that train together."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState

PATIENCE_SECONDS = 1800
"""How long processes wait for each other where `training.ddp_timeout` says nothing; transformers' own default."""


def join_processes(training: Mapping[str, Any]) -> PartialState:
    """Join the launcher's other processes, if there are any; they wait `training.ddp_timeout` seconds for each other.

    transformers hands that time to a group of processes that it makes itself, and this one is made before. Left
    to torch, a process on a GPU would be taken for dead after ten minutes, such as those of a long judgement.
    """
    patience = timedelta(seconds=float(training.get("ddp_timeout", PATIENCE_SECONDS)))
    return PartialState(cpu=not torch.cuda.is_available(), timeout=patience)
