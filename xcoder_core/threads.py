"""Threads that wait for each other give the core to other work soon, however a process was started.

By default a thread of libgomp, which torch computes with, spins for milliseconds while it waits for the others. On a
machine where other work has one of the cores, each operation of a small model then costs a time slice.
"""

import os
import sys
import threading

SPINS = "1000"
"""Turns of libgomp's waiting loop, about ten microseconds, before a thread sleeps; its own number where there are more
threads than cores."""


def give_way() -> None:
    """Bound the spinning of this process and of those that it starts; GOMP_SPINCOUNT and OMP_WAIT_POLICY are obeyed."""
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    if "torch" in sys.modules:
        _outnumber_the_cores()


def _outnumber_the_cores() -> None:
    """Bound the spinning where libgomp is loaded, as in a notebook, and reads no variable any more.

    With more threads than cores it spins no longer than `SPINS`. It counts sleeping ones: a second team of threads,
    which a thread of ours holds and never uses again, is enough.
    """
    import torch

    def hold() -> None:
        torch.ones(1 << 20).sum()  # large enough for all threads
        is_held.set()
        threading.Event().wait()

    is_held = threading.Event()
    threading.Thread(target=hold, name="team of threads", daemon=True).start()
    is_held.wait()
