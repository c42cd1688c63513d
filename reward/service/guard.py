"""What happens to a connection and to a request before its endpoint: token, size, room, and a client that leaves.

It stands outside the application, so nothing of a request is read, let alone parsed, before its token was seen and
room for it was found. A client that leaves cancels the endpoint, and with it the programs that run for it.

Whoever reaches the port can open connections, with or without a token. Each takes a file descriptor, and a judge that
is out of them judges nothing: so a connection has a few seconds and one of a bounded number of places.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import ipaddress
import resource
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reward.config import ServiceSettings
from reward.service.answers import refusal
from reward.service.queueing import MIB, Metrics, Queue
from xcoder_core.errors import InfrastructureError

PUBLIC = {"/health", "/docs", "/openapi.json"}
"""Answered without a token: they tell nothing of what is judged."""
HEAD_SECONDS = 10.0
"""A request's head must have arrived by then: far longer than a sound client takes, far shorter than a person waits."""
MOST_DESCRIPTORS = 1 << 16


@dataclass(frozen=True)
class Guard:
    """An ASGI application around another one. `token` None lets everyone in. Metrics tell `endpoints` apart."""

    app: ASGIApp
    queue: Queue
    token: str | None = field(repr=False)
    metrics: Metrics
    settings: ServiceSettings
    endpoints: set[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        endpoint = scope["path"] if scope["path"] in self.endpoints else "other"
        started = time.monotonic()
        answered = False

        async def counting_send(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self.metrics.requests.labels(endpoint, message["status"]).inc()
                self.metrics.seconds.labels(endpoint).observe(time.monotonic() - started)
            await send(message)

        headers = dict(scope["headers"])
        try:
            self._admit(scope["path"], headers)
            with self.queue.room_for_bytes(self._announced_size(headers)):
                body = await self._read(receive)
                if body is not None and not await self._carry_out(scope, body, receive, counting_send):
                    self.metrics.disconnects.labels(endpoint).inc()
        except HTTPException as error:
            await refusal(error)(scope, receive, counting_send)
        except asyncio.CancelledError:  # by the server, whose time for ending is over: the client is told, then it ends
            if answered:
                raise
            await refusal(InfrastructureError("the service is ending"))(scope, receive, counting_send)

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise `HTTPException` for a web page's request, or one without the token."""
        own_name = self.settings.host if self.token is None else None
        if is_of_a_web_page(headers.get(b"origin"), headers.get(b"host"), own_name):
            raise HTTPException(
                403, "requests of web pages are refused, and without a token so are other names than localhost"
            )
        is_admitted = path in PUBLIC or self.token is None or carries_token(headers.get(b"authorization"), self.token)
        if not is_admitted:
            raise HTTPException(401, "a valid token is required", {"WWW-Authenticate": "Bearer"})

    def _announced_size(self, headers: dict[bytes, bytes]) -> int:
        """Bytes of the body; the largest that may come where the client does not say. Raises `HTTPException`."""
        most = self.settings.request_mib * MIB
        if b"transfer-encoding" in headers:
            return most
        size = int(headers.get(b"content-length", b"0"))
        if size > most:
            raise HTTPException(413, f"the body has {size} bytes; at most {self.settings.request_mib} MiB are taken")
        return size

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body, or None where the client left. Raises `HTTPException`."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while (message := await receive())["type"] != "http.disconnect":
                    body += message.get("body", b"")
                    if len(body) > self.settings.request_mib * MIB:
                        raise HTTPException(413, f"the body has more than {self.settings.request_mib} MiB")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not arrive within {self.settings.body_seconds:g} s") from error
        return None

    async def _carry_out(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> bool:
        """Run the application to its end, or until the client leaves: then False."""
        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if pending:
                return pending.pop()
            await asyncio.Event().wait()  # what comes after the body is watched here, not there
            raise AssertionError("never set")

        application = asyncio.ensure_future(self.app(scope, replay, send))
        departure = asyncio.ensure_future(_departure(receive))
        try:
            await asyncio.wait({application, departure}, return_when=asyncio.FIRST_COMPLETED)
            if application.done():
                await application
                return True
            return False
        finally:
            for task in (application, departure):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def is_of_a_web_page(origin: bytes | None, named: bytes | None, own_name: str | None) -> bool:
    """True for a request that a browser sends for a page of somebody else, from what its `Origin` and `Host` say.

    Browsers name the page's origin, clients of trainers name none. A page can also have its own name resolve to
    loopback (DNS rebinding): its requests are then of its own origin, but call this service by that name. `own_name`
    is what it may be called beside loopback's names; None lets it be called anything, as where a token is asked for.
    """
    if origin is not None and origin.partition(b"://")[2] != (named or b""):
        return True
    if named is None or own_name is None:
        return False
    try:
        name = urlsplit(f"//{named.decode('latin-1')}").hostname or ""
    except ValueError:  # no name of anything
        return True
    return name not in ("localhost", own_name.lower()) and not _is_loopback_address(name)


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def carries_token(header: bytes | None, token: str) -> bool:
    """Whether the value of an `Authorization` header holds the token: as a bearer token, or as HTTP Basic's password,
    which clients send for a URL such as `http://any:TOKEN@host:port/…`. The time that it takes tells nothing of it."""
    return hmac.compare_digest(_digest(_credential(header or b"")), _digest(token.encode()))


def _credential(header: bytes) -> bytes:
    scheme, _, value = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _digest(secret: bytes) -> bytes:
    """Of fixed length, so that comparing does not tell how long the token is."""
    return hashlib.sha256(secret).digest()


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
