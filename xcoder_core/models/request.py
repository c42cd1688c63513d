"""What is asked of a model, what comes back and what that took, whatever serves it."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Literal, Protocol

from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.files import whole_characters
from xcoder_core.models.prompt import Message
from xcoder_core.models.reasoning import after_reasoning
from xcoder_core.models.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to sample. `seed` decides every random choice of it; what that promises, docs/generation.md says.

    Half a character in the messages, which no tokenizer and no server takes, becomes U+FFFD.
    `purpose` names what the completion is for, such as "solutions"; usage and cost are counted for each purpose.
    Each text in `stop` ends the completion as a stop token does, and is not part of its text; servers that are asked
    over the network are not sent any.
    """

    id: str
    messages: list[Message]
    seed: int
    purpose: str = "completions"
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole = [{**message, "content": whole_characters(message["content"])} for message in self.messages]
        object.__setattr__(self, "messages", whole)


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote: `text` without special tokens, `token_ids` as sampled with the stop token.

    A server returns no ids, so `token_ids` is empty there and `completion_tokens` is what it counted. Reasoning that a
    server returns apart from the answer stands in `text` as it would from any other backend:
    `<think>\\n…\\n</think>\\n\\n` and then the answer.
    `finish_reason` is "stop" after a stop token, "length" when `max_new_tokens` or the end of the context cut it off.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    @property
    def answer(self) -> str:
        """What follows the reasoning; empty where the reasoning was cut off."""
        answer = after_reasoning(self.text) or ""
        return answer if answer == self.text else answer.removeprefix("\n\n")


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that failed for good: the server refused it, or every attempt failed. It says nothing of the model."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """`cost` is in the currency of the prices that the settings give, 0 where they give none.

    `requests` were answered, `unanswered` failed for good, `retries` is how often an attempt was made again. Tokens
    and cost are those of answered requests: a server reports none for an attempt that failed.
    """

    requests: int = 0
    unanswered: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


class Generator(Protocol):
    """Whatever turns requests into completions."""

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion | Unanswered]:
        """Yield exactly one `Completion` or `Unanswered` per request, in any order.

        An answer goes on to the end of the context where `max_new_tokens` goes beyond it.

        `requests` is read as it is worked off, in the thread of the caller.
        """


def asked_once(
    generator: Generator, requests: Iterable[Request], sampling: SamplingSettings
) -> Iterator[tuple[Request, Completion | Unanswered]]:
    """Each answer with its request.

    Raises `InputError` where two requests have one id, and `InfrastructureError` where the generator answers what was
    not asked or was answered before, or leaves a request without an answer.
    """
    waiting: dict[str, Request] = {}

    def noted() -> Iterator[Request]:
        for request in requests:
            if request.id in waiting:
                raise InputError(f"two requests have the id {request.id!r}")
            waiting[request.id] = request
            yield request

    asking = noted()
    for answer in generator.generate(asking, sampling):
        if answer.request_id not in waiting:
            raise InfrastructureError(
                f"the generator answered request {answer.request_id!r}, which was not asked or was answered before"
            )
        yield waiting.pop(answer.request_id), answer
    waiting |= {request.id: request for request in asking}  # what the generator did not even read
    if waiting:
        raise InfrastructureError(
            f"the generator left {len(waiting)} requests without an answer; run again to ask only for those"
        )


def with_reasoning(reasoning: str, answer: str) -> str:
    """The text of a completion whose reasoning came apart from its answer; left open where no answer followed."""
    if not reasoning:
        return answer
    opened = "<think>\n" + reasoning.strip("\n")
    return f"{opened}\n</think>\n\n{answer}" if answer else opened
