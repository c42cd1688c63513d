"""This process among those that train together."""

import ctypes
from datetime import timedelta

import torch
from accelerate import PartialState

from xcoder_train.training.settings import TrainingSettings

# Of glibc's mallopt, with their values in bytes; above the first, memory is the system's again once it is free. Left to
# itself, glibc keeps tensors of up to 32 MiB on a heap whose holes are another third of what is alive.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = (-3, 1 << 20), (-1, 64 << 20)


def join_processes(training: TrainingSettings) -> PartialState:
    """Join the launcher's other processes, if there are any; they wait `training.ddp_timeout` seconds for each other.

    transformers hands that time to a group of processes that it makes itself, and this one is made before. Left
    to torch, a process on a GPU would be taken for dead after ten minutes, such as those of a long judgement.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)  # another libc than glibc has no such heap
    if allocator is not None and not torch.cuda.is_available():
        for name, size in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            allocator(name, size)
    patience = timedelta(seconds=training.ddp_timeout)
    return PartialState(cpu=not torch.cuda.is_available(), timeout=patience)
