"""The command `xcoder judge serve`: from settings to a listening service, and to its end without a process left."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reward.config import JudgeSettings, ServiceSettings
from reward.open_judge import open_judge
from reward.service.authentication import read_token, require_token_beyond_loopback
from xcoder_core.errors import EnvironmentLacks, install_command

BACKLOG = 2048
"""Connections that wait to be accepted, at most."""


def serve(settings: ServiceSettings, judge_settings: JudgeSettings, token_file: Path | None) -> None:
    """Judge over HTTP until SIGTERM or SIGINT.

    Raises `InputError` where a token is wrong or missing, `EnvironmentLacks` where a package, the port or isolation is.
    """
    try:
        import uvicorn

        from reward.service import app, guard
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            f"the service needs {error.name}, which is not installed: {install_command('serve')}"
        ) from error
    token = read_token(token_file)
    require_token_beyond_loopback(settings.host, token)
    with _listening(settings) as listener, open_judge(judge_settings) as judge, _signals_end_without_a_traceback():
        address = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(
            f"judging at http://{address}:{listener.getsockname()[1]} (tier {judge.tier}, {judge.workers} workers, "
            f"{'with' if token else 'without'} token)",
            file=sys.stderr,
            flush=True,
        )
        room = guard.room_for_connections()
        config = uvicorn.Config(
            app.create_app(judge, settings, token),
            http=guard.Connection,
            ws="none",
            limit_concurrency=room,
            # asyncio takes in as many at a time, before one of them can be dropped.
            backlog=min(BACKLOG, room // 2),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
            lifespan="on",
        )
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(settings: ServiceSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # create_server repeats the address in brackets
        raise EnvironmentLacks(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error
    with listener:
        # Connections inherit it. Without it the kernel held each answer's body back for 40 ms, since asyncio sets it
        # only on sockets that it made itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextmanager
def _signals_end_without_a_traceback() -> Iterator[None]:
    """uvicorn raises the signal that ended it once more when it is done; being told to end is no failure."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
