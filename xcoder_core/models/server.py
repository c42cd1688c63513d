"""What a chat completions server says: one streamed answer, read so that only a whole one counts, or a failure.

Answers are streamed so that a server that hangs differs from one that writes for an hour, and so that no proxy takes a
long silence for the end. The lines are read here rather than through the client's typed events, whose validation takes
about seven times the CPU time per token (`benchmarks/streaming.py`).
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import openai

from xcoder_core.errors import EnvironmentLacks, InputError, XcoderError
from xcoder_core.files import JsonObject, whole_characters
from xcoder_core.models.settings import ServerSettings

# Reasons to stop that say the server went away in the middle rather than that the model was done.
_ABORTED = {"abort", "error"}
# A gateway's way of saying that the server behind it is restarting or not there.
_AWAY = {502, 503, 504}
_PASSING = {408, 409, 429}

# How servers say that `max_tokens` asks for more than the context holds, or than they give.
_TOO_MANY_TOKENS = re.compile(
    r"context.?(?:length|window|size)|max_model_len|max_(?:\w+_)?tokens\W.*(?:too large|greater|exceed|at most)",
    re.IGNORECASE | re.DOTALL,
)
_ONLY_SOME_TAKE = ("top_k", "repetition_penalty", "min_p")


class Passing(Exception):
    """A failed attempt that is worth another one: what came is no whole answer, say, or the server is busy or away.

    Not before `wait` seconds where the server named them. `server_is_away` where the server could not be reached, which
    is no fault of the request.
    """

    def __init__(self, reason: str, wait: float = 0.0, *, server_is_away: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.server_is_away = wait, server_is_away


@dataclass
class ServerAnswer:
    """What a stream brought. `finish_reason` and the token counts are None until the server has told them."""

    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    _texts: list[str] = field(default_factory=list)
    _reasonings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer without its reasoning, where the server tells the two apart."""
        return whole_characters("".join(self._texts))

    @property
    def reasoning(self) -> str:
        """The reasoning that came apart from the answer."""
        return whole_characters("".join(self._reasonings))

    def take(self, event: JsonObject) -> None:
        """Add one event of the stream."""
        error = event.get("error")
        if error:
            raise Passing(f"the server broke off: {error.get('message', error) if isinstance(error, dict) else error}")
        usage = event.get("usage")
        if usage:
            self.prompt_tokens, self.completion_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self._texts.append(delta.get("content") or "")
            self._reasonings.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def check_whole(self, is_done: bool) -> None:
        """Raise `Passing` where the stream ended before the answer. `is_done` when the server said that it is."""
        if not self._texts:
            raise Passing("the server's answer holds no choice")
        if self.finish_reason is None:
            raise Passing(f"the answer was cut off after {len(self.text)} characters, before its finish_reason")
        if self.finish_reason in _ABORTED:
            raise Passing(f"the server ended the answer with finish_reason {self.finish_reason}")
        if self.completion_tokens is None and not is_done:
            raise Passing("the stream was cut off before the count of its tokens")


async def read_answer(lines: AsyncIterator[str]) -> ServerAnswer:
    """Read the lines of a stream of server-sent events to its end. Raises `Passing`."""
    answer, is_done = ServerAnswer(), False
    async for line in lines:
        if not line.startswith("data:"):
            if line.lstrip().startswith(("{", "<")):
                raise Passing(f"the server did not stream, it sent {line[:200]!r}")
            continue  # a comment that keeps the connection open, an event's name, or the blank line after an event
        data = line[5:].strip()
        if data == "[DONE]":
            is_done = True
            break
        try:
            answer.take(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Passing(f"malformed event in the server's answer: {data[:200]!r}") from error
    answer.check_whole(is_done)
    return answer


@dataclass(frozen=True)
class Refused:
    """Another attempt of this request would fail too; others may not.

    `asks_too_many_tokens` where it might not, were `max_tokens` left to the server.
    """

    reason: str
    asks_too_many_tokens: bool = False


def meaning_of(error: Exception, settings: ServerSettings, model: str) -> Passing | Refused | XcoderError:
    """What a failed attempt means; an error that is none of the server's is raised again."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, settings, model)
    if isinstance(error, Passing):
        return error
    if isinstance(error, TimeoutError):
        return Passing(f"no whole answer within total_timeout = {settings.total_timeout:g} s")
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Passing(f"cannot connect to {settings.base_url}: {cause or type(cause).__name__}", server_is_away=True)
    if isinstance(cause, httpx2.TimeoutException):
        return Passing(f"nothing came for token_timeout = {settings.token_timeout:g} s")
    if isinstance(cause, httpx2.TransportError):
        return Passing(f"the connection was cut: {cause or type(cause).__name__}")
    if isinstance(error, openai.APIError):
        return Passing(f"the server's answer cannot be read: {error}")
    raise error


def _of_status(error: openai.APIStatusError, settings: ServerSettings, model: str) -> Passing | Refused | XcoderError:
    status, said = error.status_code, f"{error.status_code}: {error.message}"
    if error.body and error.message == f"Error code: {status}":  # the client knows `error.message` alone
        said += f": {error.body if isinstance(error.body, str) else json.dumps(error.body)}"[:1000]
    if status in (401, 403):
        key = (
            f"the key in the environment variable {settings.api_key_env}"
            if settings.api_key_env
            else "a request without a key; set openai.api_key_env to the NAME of the environment variable that holds it"
        )
        return EnvironmentLacks(f"the server {settings.base_url} refused {key}. It said {said}")
    if status == 404:
        return InputError(
            f"the server {settings.base_url} knows no model {model!r}, or base_url is not where its protocol begins "
            f"(it often ends with /v1). It said {said}"
        )
    if status == 402 or error.code == "insufficient_quota":
        return EnvironmentLacks(f"the account at {settings.base_url} has no credit left. It said {said}")
    if status in _PASSING or status >= 500:
        return Passing(said, _retry_after(error), server_is_away=status in _AWAY)
    if settings.kind != "openai" and any(name in said for name in _ONLY_SOME_TAKE):
        said += f". If it is no {settings.kind} server, set `kind: openai`: these parameters are then not sent"
    return Refused(f"the server refused the request: {said}", _TOO_MANY_TOKENS.search(said) is not None)


def _retry_after(error: openai.APIStatusError) -> float:
    """Seconds that the server asks to wait; dates, which some proxies send, count as not told."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
