"""How a stage shows its progress: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 5.0

Advance = Callable[[int], None]


@contextmanager
def stage_progress(stage: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Yield a function that counts records as done. `done` of `total` were there before this process started."""
    if sys.stderr.isatty():
        yield from _bar(stage, total, done)
    else:
        yield from _lines(stage, total, done)


def _bar(stage: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started, start = time.monotonic(), done
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task(stage, total=total, completed=done, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(shown, completed=done, rate=f"{_rate(done - start, started):,.0f}/s")

        yield advance


def _lines(stage: str, total: int, done: int) -> Iterator[Advance]:
    started, start, last = time.monotonic(), done, time.monotonic()
    print(f"{stage}: {done:,} of {total:,} are there already" if done else f"{stage}: {total:,} to do", file=sys.stderr)

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            rate = _rate(done - start, started)
            print(
                f"{stage}: {done:,} of {total:,}, {rate:,.0f}/s, {(total - done) / rate:,.0f} s left", file=sys.stderr
            )

    yield advance
    print(f"{stage}: done, {done:,} in {time.monotonic() - started:,.1f} s", file=sys.stderr)


def _rate(count: int, started: float) -> float:
    return max(count, 1) / max(time.monotonic() - started, 1e-9)
