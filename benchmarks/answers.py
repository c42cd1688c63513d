"""How long it takes to find the programs in the answers of a GRPO step, and in hostile text.

    python -m benchmarks.answers

A step of 1,024 rollouts of 100 kB: once as answers from end to end, once with 95 kB of reasoning first. The peer is
markdown-it alone, with all of its rules. Writes benchmarks/results/answers.json.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from reward.extract import extract_code
from xcoder_core.files import write_json

RESULTS = Path(__file__).parent / "results"
ROLLOUTS, MEASURED, LENGTH = 1024, 32, 100_000
LINES = (
    "We can sort the pairs by their end and take each one that begins after the last.\n",
    "- the sum of the *first* `n` numbers is `n * (n + 1) // 2`\n",
    "\n",
    "```python\nfor index in range(3):\n    print(index)\n```\n",
    "    indented = True\n",
    "1. read `n`\n",
)
HOSTILE = {
    "fences": "`" * LENGTH,
    "quotations": "> " * (LENGTH // 2),
    "lists": "- " * (LENGTH // 2),
    "bullets": "* a\n" * (LENGTH // 4),
    "tags": "<a>" * (LENGTH // 3) + "`",
    "deeper and deeper": "\n".join(">" * depth for depth in range(440)),
}


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    dice = random.Random(0)
    answers = [_text(dice, LENGTH) for _ in range(MEASURED)]
    reasoned = [f"<think>\n{_text(dice, 95_000)}</think>\n{_text(dice, 5_000)}" for _ in range(MEASURED)]
    table: dict[str, Any] = {
        "cpu_seconds_of_a_step": {
            "answers": _step(extract_code, answers),
            "reasoning, then an answer": _step(extract_code, reasoned),
            "answers, markdown-it alone": _step(MarkdownIt("commonmark").parse, answers),
        },
        "cpu_seconds_of_one_hostile_text": {name: _seconds(extract_code, [text]) for name, text in HOSTILE.items()},
    }
    write_json(RESULTS / "answers.json", table)
    print(json.dumps(table, indent=2))


def _step(read: Callable[[str], object], texts: Sequence[str]) -> float:
    return round(_seconds(read, texts) / len(texts) * ROLLOUTS, 2)


def _seconds(read: Callable[[str], object], texts: Sequence[str]) -> float:
    started = time.process_time()
    for text in texts:
        read(text)
    return round(time.process_time() - started, 3)


def _text(dice: random.Random, length: int) -> str:
    lines: list[str] = []
    while sum(map(len, lines)) < length:
        lines += dice.choices(LINES, k=100)
    return "".join(lines)


if __name__ == "__main__":
    main()
