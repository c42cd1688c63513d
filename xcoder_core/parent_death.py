"""A process that must not outlive the one that started it, even when that one is killed."""

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
VLLM_ENDS_WITH_US = "XCODER_VLLM_ENDS_WITH_US"
"""Set in the environment of the processes that a vLLM engine of ours starts."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` (its parent's process id) dies; at once if it is dead already.

    The setting survives exec, not fork: each process of a chain has to ask for itself. Linux only; elsewhere nothing
    is done.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def is_alive(process: int) -> bool:
    """True while a process of this machine runs, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_with_vllm_owner() -> None:
    """In each process of a vLLM engine that a process of ours started: die with the one that started it.

    vLLM calls this as its plugin (`pyproject.toml`). It does nothing in engines that others start.
    """
    parent = multiprocessing.parent_process()
    if VLLM_ENDS_WITH_US in os.environ and parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
