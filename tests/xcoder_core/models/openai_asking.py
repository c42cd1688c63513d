"""Some requests to a server, and what is made of its answers."""

from collections.abc import Callable
from typing import Any

from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.settings import SamplingSettings

SAMPLING = SamplingSettings(temperature=0.5, top_p=0.9, top_k=7, repetition_penalty=1.1, max_new_tokens=50)


def echo(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
    return f"the answer to {messages[-1]['content']} is here"


def requests(count: int, purpose: str = "completions") -> list[Request]:
    return [
        Request(f"r{number}", [{"role": "user", "content": f"q{number}"}], number, purpose) for number in range(count)
    ]


Ask = Callable[..., list[Completion | Unanswered]]


def one(answers: list[Completion | Unanswered]) -> Completion:
    (answer,) = answers
    assert isinstance(answer, Completion), answer
    return answer
