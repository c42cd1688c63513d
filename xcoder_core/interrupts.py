"""Interrupts of a run and of its stages' processes: the first one ends the work in order, further ones change nothing.

SIGTERM is an interrupt too: it is what a run hands on to its stages. A stage is started with SIGINT blocked and lets it
through once its imports are done (`allow_interrupts`), as no interrupt should meet a half-imported library.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from xcoder_core.errors import Terminated

SECONDS_TO_STOP = 30.0


def block_interrupts() -> None:
    """Hold back SIGINT in this process and in what it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def allow_interrupts() -> None:
    """Let SIGINT through again; one that was held back takes effect at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def end_at_first_interrupt() -> Iterator[None]:
    """Within, the first SIGINT raises KeyboardInterrupt, the first SIGTERM `Terminated`; the process is then ending.

    Further ones do nothing. A background job's SIGINT stays ignored. Only the first thread can hold signals at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked helper ends as it would have without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)


def interrupt_stage(child: "subprocess.Popen[bytes]", *, through_launcher: bool) -> None:
    """End a stage's processes in order, and by force after `SECONDS_TO_STOP`. None is left.

    A launcher is halted first: it would answer the end of its workers with a page of its own.
    """
    if through_launcher:
        _send(child.pid, signal.SIGSTOP)
    processes = _children(child.pid) if through_launcher else [child.pid]
    for process in processes:
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_STOP
    while any(map(_runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        _send(process, signal.SIGKILL)
    child.kill()
    child.wait()


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _children(process: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except FileNotFoundError:
        return []


def _runs(process: int) -> bool:
    """False for a process that has ended and waits to be collected, too."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
