"""Interrupts of a run and of its stages' processes: the first one ends the work in order, further ones change nothing.

A stage is started with interrupts blocked and lets them through once its imports are done (`allow_interrupts`).
So an interrupt never meets a half-imported library, and a process that still blocks them has done nothing yet.
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
from typing import NoReturn

from xcoder_train.core.errors import Terminated

SECONDS_TO_STOP = 30.0


def block_interrupts() -> None:
    """Hold back SIGINT in this process and in what it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def allow_interrupts() -> None:
    """Let SIGINT through again; one that was held back takes effect at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def end_at_first_interrupt(*, terminable: bool = False) -> Iterator[None]:
    """Within, the first SIGINT raises KeyboardInterrupt, and later ones do nothing: the process is ending already.

    With `terminable`, SIGTERM does the same by raising `Terminated`. Only the first thread can hold signals at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM] if terminable else [signal.SIGINT]

    def end(number: int, frame: FrameType | None) -> NoReturn:
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
        _send(process, signal.SIGKILL if _blocks_interrupts(process) else signal.SIGINT)
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


def _blocks_interrupts(process: int) -> bool:
    status = _status(process)
    return bool(int(status.get("SigBlk", "0"), 16) & 1 << signal.SIGINT - 1)


def _runs(process: int) -> bool:
    """False for a process that has ended and waits to be collected, too."""
    return _status(process).get("State", "Z")[0] not in "ZX"


def _status(process: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
