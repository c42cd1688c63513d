"""One streamed answer of a chat completions server, read so that only a whole one counts.

Answers are streamed so that a server that hangs is told from one that writes for an hour, and so that no proxy takes a
long silence for the end. The lines are read here rather than through the client's typed events, whose validation takes
about seven times the CPU time per token (`benchmarks/streaming.py`).
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

# Reasons to stop that say the server went away in the middle rather than that the model was done.
_ABORTED = {"abort", "error"}


class BrokenAnswer(Exception):
    """What came is no whole answer: cut off, malformed, or empty. Another attempt may bring one."""


@dataclass
class ServerAnswer:
    """What a stream brought. `finish_reason` and the token counts are None until the server has told them."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_done: bool = False
    _texts: list[str] = field(default_factory=list)
    _reasonings: list[str] = field(default_factory=list)

    def take(self, chunk: Any) -> None:
        """Add one event of the stream."""
        if chunk.get("error"):
            error = chunk["error"]
            raise BrokenAnswer(
                f"the server broke off: {error.get('message', error) if isinstance(error, dict) else error}"
            )
        usage = chunk.get("usage")
        if usage:
            self.prompt_tokens, self.completion_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self._texts.append(delta.get("content") or "")
            self._reasonings.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def close(self) -> None:
        """Called at the end of the stream. Raises `BrokenAnswer` where it was not the end of the answer."""
        self.text, self.reasoning = "".join(self._texts), "".join(self._reasonings)
        if not self._texts:
            raise BrokenAnswer("the server's answer holds no choice")
        if self.finish_reason is None:
            raise BrokenAnswer(f"the answer was cut off after {len(self.text)} characters, before its finish_reason")
        if self.finish_reason in _ABORTED:
            raise BrokenAnswer(f"the server ended the answer with finish_reason {self.finish_reason}")
        if self.completion_tokens is None and not self.is_done:
            raise BrokenAnswer("the stream was cut off before the count of its tokens")


async def read_answer(lines: AsyncIterator[str]) -> ServerAnswer:
    """Read the lines of a stream of server-sent events to its end. Raises `BrokenAnswer`."""
    answer = ServerAnswer()
    async for line in lines:
        if not line.startswith("data:"):
            if line.lstrip().startswith(("{", "<")):
                raise BrokenAnswer(f"the server did not stream, it sent {line[:200]!r}")
            continue  # a comment that keeps the connection open, an event's name, or the blank line after an event
        data = line[5:].strip()
        if data == "[DONE]":
            answer.is_done = True
            break
        try:
            answer.take(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenAnswer(f"malformed event in the server's answer: {data[:200]!r}") from error
    answer.close()
    return answer
