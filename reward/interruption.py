"""Ending at once, from another thread, what a thread waits for: a program, a compiler, its turn to compile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xcoder_core.errors import InfrastructureError


class Interruption:
    """Set once and for good. The thread that waits says how its waiting ends; the one that interrupts ends it so."""

    def __init__(self) -> None:
        self.is_set = False
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def set(self) -> None:
        """End what is waited for now, and whatever would be waited for next."""
        with self._lock:
            self.is_set = True
            if self._end is not None:
                self._end()

    @contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """Within, `set` calls `end`, in its own thread; not once this is left. `end` must not raise or wait.

        Raises `InfrastructureError` where it is set already.
        """
        with self._lock:
            self.check()
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None

    def check(self) -> None:
        """Raise `InfrastructureError` where it is set."""
        if self.is_set:
            raise InfrastructureError("it was interrupted: nobody waits for the verdict any more")
