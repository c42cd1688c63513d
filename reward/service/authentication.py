"""Who may use the service: a token, needed wherever others than this machine's users can reach it, and no web page.

The token comes from the environment or a file, never from the command line, where every user of the machine could
read it. It is accepted as a bearer token and as HTTP Basic's password, which clients send for a URL such as
`http://any:TOKEN@host:port/…`.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from xcoder_core.errors import InputError

TOKEN_VARIABLE = "XCODER_JUDGE_TOKEN"
SHORTEST_TOKEN = 16


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


class Authenticator:
    """Compares credentials with the token in a time that tells nothing of it. Without a token everyone may pass."""

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token.encode())
        self.asks_for_token = token is not None

    def admits(self, header: bytes | None) -> bool:
        """True where the value of an `Authorization` header carries the token."""
        if self._digest is None:
            return True
        return hmac.compare_digest(_digest(_credential(header or b"")), self._digest)


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
