"""What is asked of a model and what comes back, whatever serves it."""

from dataclasses import dataclass
from typing import Literal

from xcoder_train.core.prompt import Message


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to sample. `seed` decides every random choice of it, whatever else is in its batch."""

    id: str
    messages: list[Message]
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote: `token_ids` as sampled, stop token included; `text` without special tokens.

    `finish_reason` is "stop" after a stop token and "length" when `max_new_tokens` cut it off.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
