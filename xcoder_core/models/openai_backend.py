"""Completions from any server that speaks OpenAI's chat completions protocol: vLLM, SGLang, a hosted API.

Attempts are counted and spaced here and not by the client (its `max_retries` is 0), because it retries no cut stream
and no malformed answer, waits 8 seconds at most with a quarter of jitter, and does not tell how often it tried.
"""

import asyncio
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Self

import openai
from aiolimiter import AsyncLimiter

from xcoder_core.errors import EnvironmentLacks, InfrastructureError, XcoderError
from xcoder_core.models.request import Completion, Request, Unanswered, Usage, with_reasoning
from xcoder_core.models.server import Passing, Refused, ServerAnswer, meaning_of, read_answer
from xcoder_core.models.settings import SamplingSettings, ServerSettings

# Requests handed over at a time, as a multiple of those the server works on: a caller that is busy for a while does
# not let the server run dry. Answers that it has not taken yet count, so that a kill loses few.
HANDED_OVER = 2

SECONDS_BETWEEN_LINES = 60.0  # while a server is away
SEEDS = 2**31  # the range that every server takes
CHARACTERS_PER_TOKEN = 4


class OpenAIGenerator:
    """Samples completions from a server. Connections, rate limits and `usage` last until `close`."""

    def __init__(self, settings: ServerSettings, model: str) -> None:
        """`model` is the name under which the server knows it, unless the settings give one.

        Raises `EnvironmentLacks` where the environment variable that should hold the key holds none.
        """
        self.settings = settings
        self.model = settings.model or model
        self.usage_by_purpose: dict[str, Usage] = {}
        self._key = _key(settings)
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        per_minute, tokens = settings.requests_per_minute, settings.tokens_per_minute
        self._request_limit = AsyncLimiter(1, 60 / per_minute) if per_minute is not None else None
        self._token_limit = AsyncLimiter(tokens, 60) if tokens is not None else None
        self._last_contact = 0.0
        self._away_since: float | None = None
        self._reported_away, self._reported_at = False, -SECONDS_BETWEEN_LINES
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url,
            api_key=self._key or "none",  # given, so that a key meant for another server is never read and sent
            max_retries=0,
            timeout=openai.Timeout(settings.token_timeout, connect=settings.connect_timeout),
        )
        self._client.organization = self._client.project = None  # read from the environment too
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="generation", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is still asked for and close the connections."""

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._client.close()

        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def usage(self) -> Usage:
        """What all requests so far took."""
        return sum(self.usage_by_purpose.values(), Usage())

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion | Unanswered]:
        """Yield a completion per request as they come, or `Unanswered` where every attempt failed.

        Raises `InfrastructureError` when the server cannot be reached at all for `give_up_after` seconds, `InputError`
        and `EnvironmentLacks` when it refuses the key, the model or the account; what was answered before then is
        yielded first.
        """
        finished: queue.SimpleQueue[Future[Completion | Unanswered]] = queue.SimpleQueue()
        running: set[Future[Completion | Unanswered]] = set()
        pending, fault = iter(requests), None
        self._away_since = None
        try:
            while True:
                while fault is None and len(running) < HANDED_OVER * self.settings.max_concurrency:
                    request = next(pending, None)
                    if request is None:
                        break
                    future = asyncio.run_coroutine_threadsafe(self._answer(request, sampling), self._loop)
                    running.add(future)
                    future.add_done_callback(finished.put)
                if not running:
                    break
                future = finished.get()
                running.remove(future)
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield future.result()
                elif fault is None:
                    fault = error
                    _cancel(running)
        finally:
            _cancel(running)
        if fault is not None:
            raise fault

    def sampling_sent(self, sampling: SamplingSettings) -> dict[str, object]:
        """The parameters that go with every request, for the record; `not_sent` are left to the server.

        `max_tokens` is left out where the server refuses it because its context holds less.
        """
        missing = [] if self.settings.kind != "openai" else ["top_k", "repetition_penalty"]
        sent = {**self._parameters(sampling), **self._extra_body(sampling)}
        return {**sent, "seed": f"of each request, modulo {SEEDS}", "not_sent": missing}

    def _parameters(self, sampling: SamplingSettings) -> dict[str, object]:
        return {
            "model": self.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "n": 1,
        }

    def _extra_body(self, sampling: SamplingSettings) -> dict[str, object]:
        """What OpenAI's own protocol lacks. Servers take what is not sent from the model's generation_config.json."""
        penalty = sampling.repetition_penalty
        known = {"top_k": sampling.top_k or -1, "repetition_penalty": penalty, "min_p": 0.0}
        return {**(known if self.settings.kind != "openai" else {}), **self.settings.extra_body}

    async def _answer(self, request: Request, sampling: SamplingSettings) -> Completion | Unanswered:
        attempts = failures = 0
        parameters = {**self._parameters(sampling), "extra_body": self._extra_body(sampling)}
        async with self._slots:
            while True:
                started = time.monotonic()
                try:
                    answer = await self._attempt(request, sampling, parameters)
                    break
                except Exception as error:
                    meaning = meaning_of(error, self.settings, self.model)
                if isinstance(meaning, XcoderError):
                    raise type(meaning)(self._without_key(str(meaning)))
                if isinstance(meaning, Refused) and meaning.asks_too_many_tokens and "max_tokens" in parameters:
                    del parameters["max_tokens"]  # what the context leaves is then the limit
                    continue
                if isinstance(meaning, Refused):
                    return self._unanswered(request, meaning.reason)
                if not meaning.server_is_away:
                    self._heard_from()
                # Away for all requests is not this one's fault; away for this one alone is.
                attempts += self._last_contact >= started
                self._give_up_if_away(meaning)
                if attempts == self.settings.attempts:
                    return self._unanswered(request, f"{meaning} (attempt {attempts} of {attempts})")
                failures += 1
                self._count(request, retries=1)
                asked_for = min(meaning.wait, self.settings.give_up_after)
                await asyncio.sleep(max(asked_for, self._backoff(failures)))
        return self._completion(request, answer)

    async def _attempt(
        self, request: Request, sampling: SamplingSettings, parameters: dict[str, object]
    ) -> ServerAnswer:
        if self._request_limit is not None:
            await self._request_limit.acquire()
        if self._token_limit is not None:
            prompt = sum(len(message["content"]) for message in request.messages) // CHARACTERS_PER_TOKEN
            await self._token_limit.acquire(min(prompt + sampling.max_new_tokens, self._token_limit.max_rate))
        async with (
            asyncio.timeout(self.settings.total_timeout),
            self._client.chat.completions.with_streaming_response.create(  # type: ignore[call-overload]  # plain dicts
                messages=request.messages,
                seed=request.seed % SEEDS,
                stream=True,
                stream_options={"include_usage": True},
                **parameters,
            ) as response,
        ):
            self._heard_from()
            answer = await read_answer(response.iter_lines())
        self._heard_from()
        return answer

    def _completion(self, request: Request, answer: ServerAnswer) -> Completion | Unanswered:
        if answer.finish_reason not in ("stop", "length"):
            return self._unanswered(request, f"the server ended the answer with finish_reason {answer.finish_reason}")
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            raise InfrastructureError(
                f"the server {self.settings.base_url} does not count tokens: its answers lack the `usage` that "
                "stream_options.include_usage asks for. Use a server that does."
            )
        self._count(
            request,
            requests=1,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost=self.settings.cost(answer.prompt_tokens, answer.completion_tokens),
        )
        return Completion(
            request.id,
            self._text(answer),
            (),
            "length" if answer.finish_reason == "length" else "stop",
            answer.prompt_tokens,
            answer.completion_tokens,
        )

    def _text(self, answer: ServerAnswer) -> str:
        is_marked = answer.reasoning or answer.text.lstrip().startswith("<think>")
        opening = "<think>\n" if self.settings.opens_reasoning and not is_marked else ""
        return opening + with_reasoning(answer.reasoning, answer.text)

    def _unanswered(self, request: Request, reason: str) -> Unanswered:
        self._count(request, unanswered=1)
        return Unanswered(request.id, self._without_key(reason))

    def _heard_from(self) -> None:
        """Note that the server is there."""
        if self._reported_away and self._away_since is not None:
            print(f"the server {self.settings.base_url} is back", file=sys.stderr, flush=True)
            self._reported_away = False
        self._last_contact, self._away_since = time.monotonic(), None

    def _give_up_if_away(self, failure: Passing) -> None:
        if not failure.server_is_away:
            return
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > self.settings.give_up_after:
            raise InfrastructureError(
                f"the server {self.settings.base_url} could not be reached for {now - self._away_since:.0f} s, longer "
                f"than openai.give_up_after = {self.settings.give_up_after:g}: {self._without_key(str(failure))}. "
                "What was answered is kept; the same command continues once the server is back."
            )
        if now - self._reported_at >= SECONDS_BETWEEN_LINES:
            self._reported_away, self._reported_at = True, now
            away, reason = f"away for {now - self._away_since:.0f} s", self._without_key(str(failure))
            limit = f"the run ends after openai.give_up_after = {self.settings.give_up_after:g} s"
            print(f"waiting for the server, {away}: {reason}; {limit}", file=sys.stderr, flush=True)

    def _backoff(self, failures: int) -> float:
        """Seconds, drawn from 0 to a bound that doubles with each failure: "full jitter", so that requests that failed
        together do not come back together."""
        return random.uniform(0, min(self.settings.longest_wait, 2.0 ** min(failures - 1, 32)))

    def _count(self, request: Request, **took: float) -> None:
        before = self.usage_by_purpose.get(request.purpose, Usage())
        self.usage_by_purpose[request.purpose] = before + Usage(**took)  # type: ignore[arg-type]

    def _without_key(self, text: str) -> str:
        """A server may repeat the key that it refuses; it must reach no log."""
        return text.replace(self._key, "[key]") if self._key else text


def _key(settings: ServerSettings) -> str:
    if settings.api_key_env is None:
        return ""
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key:
        raise EnvironmentLacks(
            f"openai.api_key_env names {settings.api_key_env}, which is not set or empty; export the server's key in it"
        )
    return key


def _cancel(futures: Iterable[Future[Completion | Unanswered]]) -> None:
    for future in tuple(futures):
        future.cancel()
