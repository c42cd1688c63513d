"""One streamed answer of a chat completions server, read so that only a whole one counts.

Answers are streamed so that a server that hangs is told from one that writes for an hour, and so that no proxy takes a
long silence for the end. The lines are read here rather than through the client's typed events, whose validation takes
about seven times the CPU time per token (`benchmarks/streaming.py`).
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from xcoder_core.files import whole_characters

# Reasons to stop that say the server went away in the middle rather than that the model was done.
_ABORTED = {"abort", "error"}


class BrokenAnswer(Exception):
    """What came is no whole answer: cut off, malformed, or empty. Another attempt may bring one."""


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

    def take(self, event: dict[str, Any]) -> None:
        """Add one event of the stream."""
        error = event.get("error")
        if error:
            raise BrokenAnswer(
                f"the server broke off: {error.get('message', error) if isinstance(error, dict) else error}"
            )
        usage = event.get("usage")
        if usage:
            self.prompt_tokens, self.completion_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            self._texts.append(delta.get("content") or "")
            self._reasonings.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def check_whole(self, is_done: bool) -> None:
        """Raise `BrokenAnswer` where the stream ended before the answer. `is_done` when the server said that it is."""
        if not self._texts:
            raise BrokenAnswer("the server's answer holds no choice")
        if self.finish_reason is None:
            raise BrokenAnswer(f"the answer was cut off after {len(self.text)} characters, before its finish_reason")
        if self.finish_reason in _ABORTED:
            raise BrokenAnswer(f"the server ended the answer with finish_reason {self.finish_reason}")
        if self.completion_tokens is None and not is_done:
            raise BrokenAnswer("the stream was cut off before the count of its tokens")


async def read_answer(lines: AsyncIterator[str]) -> ServerAnswer:
    """Read the lines of a stream of server-sent events to its end. Raises `BrokenAnswer`."""
    answer, is_done = ServerAnswer(), False
    async for line in lines:
        if not line.startswith("data:"):
            if line.lstrip().startswith(("{", "<")):
                raise BrokenAnswer(f"the server did not stream, it sent {line[:200]!r}")
            continue  # a comment that keeps the connection open, an event's name, or the blank line after an event
        data = line[5:].strip()
        if data == "[DONE]":
            is_done = True
            break
        try:
            answer.take(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenAnswer(f"malformed event in the server's answer: {data[:200]!r}") from error
    answer.check_whole(is_done)
    return answer
