"""The command `xcoder judge serve`: from settings to a listening service, and to its end without a process left.

Its token comes from the environment or a file, never from the command line, where every user of the machine could read
it.
"""

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reward.config import JudgeSettings, ServiceSettings
from reward.open_judge import open_judge
from xcoder_core.errors import EnvironmentLacks, InputError, install_command

BACKLOG = 2048
"""Connections that wait to be accepted, at most."""
TOKEN_VARIABLE = "XCODER_JUDGE_TOKEN"
SHORTEST_TOKEN = 16


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


def read_token(file: Path | None) -> str | None:
    """The token of `file`, else of the environment; None where neither gives one. Raises `InputError`."""
    given = os.environ.get(TOKEN_VARIABLE)
    if file is None and given is None:
        return None
    if file is not None and given is not None:
        raise InputError(f"both --token-file and {TOKEN_VARIABLE} are given: keep one of them")
    source = TOKEN_VARIABLE
    if file is not None:
        source = str(file)
        try:
            given = file.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"cannot read the token from {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"the token in {file} is not text") from error
    token = (given or "").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {source} must be at least {SHORTEST_TOKEN} printable ASCII characters without spaces; "
            "`openssl rand -hex 32` makes a good one"
        )
    return token


def require_token_beyond_loopback(host: str, token: str | None) -> None:
    """Raise `InputError` where `host` can be reached from other machines and no token is set."""
    if token is None and not is_loopback(host):
        raise InputError(
            f"--host {host} can be reached from other machines, so a token is required: set {TOKEN_VARIABLE} or pass "
            "--token-file (or listen on 127.0.0.1)"
        )


def is_loopback(host: str) -> bool:
    """True where every address of `host` is a loopback address. Raises `InputError` where it has none."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: not an address of this machine ({error})") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


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
