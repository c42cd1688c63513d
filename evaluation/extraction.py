"""Which part of a completion is the program. The policy is named beside every score, because it moves scores.

`last_block` is the project's own rule, the one that rewards use (`reward.extract`). `livecodebench` is the official
rule: whatever stands between the last two lines that contain three backticks, no matter whether they open or close.
`livecodebench-base` is the official rule for base models: all of the text.
"""

from collections.abc import Callable
from typing import Literal

from reward.extract import extract_code

Extraction = Literal["last_block", "livecodebench", "livecodebench-base", "given"]
FENCE = "```"


def extractor(policy: str) -> Callable[[str], str | None]:
    """Completion to program, or None where there is none. `given` takes the text for the program that it is."""
    return {
        "last_block": extract_code,
        "livecodebench": between_last_fences,
        "livecodebench-base": stripped_text,
        "given": whole_text,
    }[policy]


def between_last_fences(completion: str) -> str | None:
    """The official rule for chat models. An empty text is no program, as the official checker has it."""
    lines = completion.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    if len(fences) < 2:
        return None
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) or None


def stripped_text(completion: str) -> str | None:
    """The official rule for base models, which were shown programs without fences."""
    return completion.strip() or None


def whole_text(completion: str) -> str | None:
    """For files that hold programs already, as official submissions do."""
    return completion or None
