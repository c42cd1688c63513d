"""What a connection may hold before it has asked for anything: a few seconds and one of a bounded number of places.

Whoever reaches the port can open connections, with or without a token. Each takes a file descriptor, and a judge that
is out of them judges nothing.
"""

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""A request's head must have arrived by then: far longer than a sound client takes, far shorter than a person waits."""
MOST_DESCRIPTORS = 1 << 16


class Connection(H11Protocol):
    """uvicorn's own protocol over h11, which bounds the size of a head, with bounds on its time and on the number."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or drop it where there are too many."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
        else:
            self._await_head()

    def on_response_complete(self) -> None:
        """Wait for the next request of the connection, not for ever either."""
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()

    def _await_head(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up_without_head)

    def _give_up_without_head(self) -> None:
        if self.conn.their_state is h11.IDLE:  # not one whole head since the connection or the last answer
            self.transport.abort()


def room_for_connections() -> int:
    """Half of the file descriptors that this process may open, once it may open all it can: the rest is the judge's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most // 2
