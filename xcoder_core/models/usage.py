"""What generation took: requests, retries, tokens and their price, in all and for each purpose."""

from dataclasses import dataclass


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
        return Usage(
            self.requests + other.requests,
            self.unanswered + other.unanswered,
            self.retries + other.retries,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )
