"""A real HTTP server on loopback that speaks OpenAI's chat completions protocol and misbehaves when told to.

    with OpenAIServer(answer=lambda messages, parameters: "print(1)", faults=[Fault("cut"), Fault(429)]) as server:
        ...  # the first request is cut off, the second gets a 429, all others are answered
        server.calls  # what it received, and how each call ended

It writes its bytes itself, because no HTTP framework can be told to break the protocol.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

Answer = Callable[[list[dict[str, str]], dict[str, Any]], str | list[str]]
"""The text for the messages of a request; the second argument is its whole body, with the sampling parameters. A list
is sent as it is, an event for each item; a text word by word.

Text up to `</think>` is sent apart, as servers with a reasoning parser do, when the server's `reasoning_field` is set.
"""


@dataclass(frozen=True)
class Fault:
    """One misbehaviour. A number is an HTTP status, told with `message`, or with `body` instead of OpenAI's form of it;
    `retry_after` goes into its header.

    "cut": the connection is closed before any byte; "cut_in_answer": in the middle of the stream; "no_end": the stream
    ends in order after half of the answer, without a finish_reason; "slow": `seconds` before each token; "hang": no
    token after the first; "malformed": an event that is no JSON; "page": HTML with status 200; "empty": no choices;
    "error_event": an error in the stream; "truncated": half of the answer with finish_reason "length"; "filtered":
    finish_reason "content_filter"; "no_usage": a whole answer that counts no tokens.
    """

    kind: (
        int
        | Literal[
            "cut",
            "cut_in_answer",
            "no_end",
            "slow",
            "hang",
            "malformed",
            "page",
            "empty",
            "error_event",
            "truncated",
            "filtered",
            "no_usage",
        ]
    )
    message: str = "told to fail"
    code: str | None = None
    retry_after: float | None = None
    seconds: float = 0.0
    body: Any = None


@dataclass
class Call:
    """One request that arrived. `answered` once all bytes of a whole answer were handed to the kernel."""

    body: dict[str, Any]
    headers: dict[str, str]
    at: float
    fault: Fault | None
    answered: bool = False

    @property
    def asked(self) -> str:
        """The last message."""
        return self.body["messages"][-1]["content"]


@dataclass
class OpenAIServer:
    """`faults` meet the requests in order of arrival, None letting one pass; `fault_of` decides for each call instead.

    `models` are the names it knows. With `key`, requests need it; `echo_key` repeats the given key in every error, as
    careless servers do. With `context`, prompt and `max_tokens` have to fit into so many words, or are refused in
    vLLM's words; without `max_tokens` an answer may take what is left.
    """

    answer: Answer
    faults: Iterable[Fault | None] = ()
    fault_of: Callable[[Call], Fault | None] | None = None
    models: tuple[str, ...] = ("model",)
    key: str | None = None
    echo_key: bool = False
    reasoning_field: str | None = None
    seconds_per_token: float = 0.0
    context: int | None = None
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    most_at_once: int = 0

    @property
    def base_url(self) -> str:
        """What clients are given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._script: Iterator[Fault | None] = iter(self.faults)
        self._at_once = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._handle(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read and answer one request; False where the connection ends with it."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or "{}")
        if first.split()[:2] != ["POST", "/v1/chat/completions"]:
            return await self._refuse(writer, Fault(404, f"no such path: {first}"), headers)
        call = Call(body, headers, self._loop.time(), None)
        call.fault = self.fault_of(call) if self.fault_of is not None else next(self._script, None)
        self.calls.append(call)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
                return await self._refuse(writer, Fault(401, "Incorrect API key provided."), headers)
            if body["model"] not in self.models:
                return await self._refuse(writer, Fault(404, f"The model `{body['model']}` does not exist."), headers)
            if call.fault is not None and isinstance(call.fault.kind, int):
                return await self._refuse(writer, call.fault, headers)
            words, limit = _words(body), body.get("max_tokens", 1)
            if self.context is not None and words + limit > self.context:
                told = (
                    f"This model's maximum context length is {self.context} tokens. However, you requested {limit} "
                    f"output tokens and your prompt contains {words} input tokens."
                )
                return await self._refuse(writer, Fault(400, told), headers)
            return await self._stream(writer, call)
        finally:
            self._at_once -= 1

    async def _refuse(self, writer: asyncio.StreamWriter, fault: Fault, headers: dict[str, str]) -> bool:
        message = fault.message + (f" You sent {headers.get('authorization')}." if self.echo_key else "")
        told = fault.body or {"error": {"message": message, "type": "error", "code": fault.code}}
        body = json.dumps(told).encode()
        wait = "" if fault.retry_after is None else f"retry-after: {fault.retry_after}\r\n"
        head = (
            f"HTTP/1.1 {fault.kind} Told\r\ncontent-type: application/json\r\n{wait}content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter, call: Call) -> bool:
        fault, kind = call.fault, None if call.fault is None else call.fault.kind
        if kind == "cut":
            return False
        writer.write(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "
            + (b"text/html\r\n\r\n" if kind == "page" else b"text/event-stream\r\n\r\n")
        )
        if kind == "page":
            return await _end(writer, b"<html><body>Welcome to the proxy</body></html>")
        deltas, finish_reason = self._deltas(call)
        written = 0
        for number, delta in enumerate(deltas):
            await asyncio.sleep(fault.seconds if fault and kind == "slow" else self.seconds_per_token)
            if number >= len(deltas) // 2:
                if kind == "cut_in_answer":
                    return False
                if kind == "no_end":
                    return await _end(writer, b"")
                if kind == "hang":
                    await asyncio.sleep(3600)
                if kind == "malformed":
                    return await _end(writer, b'data: {"choices": [{"delta": {"cont\n\ndata: [DONE]\n\n')
                if kind == "error_event":
                    return await _end(writer, b'data: {"error": {"message": "the engine died"}}\n\n')
            if kind != "empty":
                await _send(writer, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            written += 1
        if kind != "empty":
            await _send(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        words = _words(call.body)
        usage = {"prompt_tokens": words, "completion_tokens": written, "total_tokens": words + written}
        if kind != "no_usage":
            await _send(writer, {"choices": [], "usage": usage})
        await _end(writer, b"data: [DONE]\n\n")
        call.answered = kind != "empty"
        return True

    def _deltas(self, call: Call) -> tuple[list[dict[str, str]], str]:
        """The answer in pieces of a word each, and how it ends."""
        text, limit = self.answer(call.body["messages"], call.body), call.body.get("max_tokens")
        if limit is None:
            limit = sys.maxsize if self.context is None else self.context - _words(call.body)
        if isinstance(text, list):
            return [{"content": piece} for piece in text], "stop"
        reasoning, closing, rest = text.partition("</think>")
        if not closing or self.reasoning_field is None:
            reasoning, rest = "", text
        deltas = [{self.reasoning_field or "": piece} for piece in _pieces(reasoning.removeprefix("<think>"))]
        deltas += [{"content": piece} for piece in _pieces(rest)]
        kind = None if call.fault is None else call.fault.kind
        if kind == "truncated":
            limit = len(deltas) // 2
        if len(deltas) > limit:
            return deltas[:limit], "length"
        return deltas, "content_filter" if kind == "filtered" else "stop"


def _words(body: dict[str, Any]) -> int:
    return sum(len(message["content"].split()) for message in body["messages"])


def _pieces(text: str) -> list[str]:
    """The words, each with the white space before it."""
    pieces, start = [], 0
    for place in range(1, len(text)):
        if text[place].isspace() and not text[place - 1].isspace():
            pieces.append(text[start:place])
            start = place
    return [*pieces, text[start:]] if text else []


async def _send(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    await _chunk(writer, f"data: {json.dumps(event)}\n\n".encode())


async def _end(writer: asyncio.StreamWriter, last: bytes) -> bool:
    if last:
        await _chunk(writer, last)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()
