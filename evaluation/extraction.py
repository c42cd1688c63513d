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


def extractor(policy: Extraction) -> Callable[[str], str | None]:
    """Completion to program, or None where there is none. `given` takes the text for the program that it is."""
    rules: dict[Extraction, Callable[[str], str | None]] = {
        "last_block": extract_code,
        "livecodebench": between_last_fences,
        "livecodebench-base": lambda completion: completion.strip() or None,
        "given": lambda text: text or None,
    }
    return rules[policy]


def between_last_fences(completion: str) -> str | None:
    """The official rule for chat models. An empty text is no program, as the official checker has it."""
    lines = completion.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) or None if len(fences) > 1 else None
