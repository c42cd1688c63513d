"""What a streamed token costs the process that asks: lines read here against the client's typed events, in CPU time.

    python -m benchmarks.streaming [--answers 16] [--tokens 2000] [--rounds 3]

A server in a process of its own streams canned answers over loopback. The two ways are measured in turns and the best
round of each is kept, since other load on the machine only ever adds. Compare ratios, not microseconds.
"""

import argparse
import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import openai

from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings, ServerSettings

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    '"delta":{%s},"logprobs":null,"finish_reason":%s}]}\n\n'
)
USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\ndata: [DONE]\n\n'


def serve(tokens: int, told: Connection) -> None:
    """Answer every request with so many tokens; the port goes to `told`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def chunk(text: str) -> bytes:
            return b"%x\r\n%s\r\n" % (len(text), text.encode())

        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
                writer.write(HEAD)
                for _ in range(tokens):
                    writer.write(chunk(EVENT % ('"content":" word"', "null")))
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(chunk(EVENT % ("", '"stop"')) + chunk(USAGE % tokens) + b"0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def by_lines(base_url: str, answers: int) -> float:
    """CPU seconds of the generator, with everything that it does."""
    requests = [Request(str(number), [{"role": "user", "content": "q"}], number) for number in range(answers)]
    with OpenAIGenerator(ServerSettings(base_url=base_url, max_concurrency=8), "m") as generator:
        started = time.process_time()
        for answer in generator.generate(requests, SamplingSettings()):
            assert isinstance(answer, Completion)
        return time.process_time() - started


def by_typed_events(base_url: str, answers: int) -> float:
    """CPU seconds of the official client's own streams, eight at a time, with nothing done to the events."""

    async def run() -> None:
        slots = asyncio.Semaphore(8)

        async def one() -> None:
            async with slots:
                async for _ in await client.chat.completions.create(model="m", messages=[], stream=True):
                    pass

        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
            await asyncio.gather(*(one() for _ in range(answers)))

    started = time.process_time()
    asyncio.run(run())
    return time.process_time() - started


def main() -> None:
    """Print the microseconds per token of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    told, telling = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(options.tokens, telling), daemon=True)
    server.start()
    base_url = f"http://127.0.0.1:{told.recv()}/v1"
    rounds = [
        (by_lines(base_url, options.answers), by_typed_events(base_url, options.answers)) for _ in range(options.rounds)
    ]
    server.terminate()
    lines, typed = (min(column) * 1e6 / (options.answers * options.tokens) for column in zip(*rounds, strict=True))
    print(f"lines read here {lines:.1f} µs a token, typed events {typed:.1f} µs a token: {typed / lines:.1f} times")


if __name__ == "__main__":
    main()
