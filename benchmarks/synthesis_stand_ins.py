"""Stand-ins for what bookkeeping is measured without: a model that answers at once, and a judge that runs nothing.

What they hand over has the form and the size of the real thing. The CPU time that they take themselves is counted, so
that it can be taken off.
"""

import json
import random
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from types import TracebackType
from typing import Any, Self

from benchmarks.judge.inputs import PROGRAMS
from reward.submission import Submission
from reward.verdict import Execution, Run
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings

WORDS = 20_000
STATEMENT_WORDS = 200
WRONG_SHARE = 0.15
REPEATED_SHARE = 0.02
"""Of the tasks, those whose statement is one that another task has too, but for a few words."""


class Spent:
    """CPU seconds that the stand-ins took."""

    seconds = 0.0


class StandInModel:
    """Answers every question in the form asked for; a solution comes with `reasoning_characters` of reasoning."""

    def __init__(self, reasoning_characters: int) -> None:
        drawn = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = ["".join(drawn.choices(letters, k=drawn.randint(2, 10))) for _ in range(WORDS)]
        self.reasoning = " ".join(drawn.choices(self.words, k=max(reasoning_characters, 200_000) // 5))
        self.length = reasoning_characters

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        """A completion for each request, in order; its tokens are its words."""
        for request in requests:
            started = time.process_time()
            text = self._answer(request)
            asked = sum(len(message["content"]) for message in request.messages)
            answer = Completion(request.id, text, (), "stop", asked // 4, len(text) // 4)
            Spent.seconds += time.process_time() - started
            yield answer

    def _answer(self, request: Request) -> str:
        question = request.id.split("/")[-2]
        drawn = random.Random(request.seed)
        match question:
            case "select_features":
                offered = re.findall(r"^- (.+)$", request.messages[-1]["content"], re.MULTILINE)
                chosen = [{"feature": path, "use": self._text(drawn, 12)} for path in offered[:4]]
                return f"```json\n{json.dumps({'features': chosen, 'strategy': self._text(drawn, 40)})}\n```"
            case "write_task":
                return self._task(request, drawn)
            case "write_inputs":
                content = "arguments" if _is_function(request) else "input"
                values = [[drawn.randrange(10**6) for _ in range(20)] for _ in range(8)]
                inputs = [
                    {"category": "small", content: [one] if content == "arguments" else " ".join(map(str, one))}
                    for one in values
                ]
                return f"```json\n{json.dumps({'inputs': inputs})}\n```"
            case "write_solution":
                start = drawn.randrange(len(self.reasoning) - self.length + 1)
                wrong = drawn.random() < WRONG_SHARE
                head = f"# {'wrong' if wrong else 'right'} {drawn.randrange(8)}\n"
                thought = self.reasoning[start : start + self.length]
                return f"<think>\n{thought}\n</think>\n\n```python\n{head}{drawn.choice(_programs())}\n```"
        kind = "function" if _is_function(request) else "stdin"
        return f"```python\n# {question} {kind}\n{drawn.choice(_programs())}\n```"

    def _task(self, request: Request, drawn: random.Random) -> str:
        is_leetcode = "style is that of LeetCode" in request.messages[-1]["content"]
        if drawn.random() < REPEATED_SHARE:
            drawn = random.Random(drawn.randrange(10))
        statement = f"{self._text(drawn, STATEMENT_WORDS)} {request.seed}"
        starter = "```python\nclass Solution:\n    def solve(self, numbers: list[int]) -> int:\n```"
        return f"````statement\n{statement}\n````" + (f"\n\n{starter}" if is_leetcode else "")

    def _text(self, drawn: random.Random, words: int) -> str:
        return " ".join(drawn.choices(self.words, k=words))


class StandInJudge:
    """Says of every program what it would do, without running it; a context manager like a judge."""

    runs_of_candidates = 0

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def execute(self, submissions: Iterable[Submission]) -> Iterator[Execution]:
        """An execution for each submission, in order."""
        for submission in submissions:
            started = time.process_time()
            first = submission.code.split("\n", 1)[0]
            if first.startswith("# write_generator"):
                outputs = [_generated(text, first.endswith("function")) for text in submission.inputs]
            elif first.startswith("# write_validator"):
                outputs = ["valid\n"] * len(submission.inputs)
            else:
                StandInJudge.runs_of_candidates += len(submission.inputs)
                outputs = [_output(text, first.startswith("# wrong")) for text in submission.inputs]
            execution = Execution(submission.id, tuple(Run("OK", output) for output in outputs), "stand-in")
            Spent.seconds += time.process_time() - started
            yield execution


def _is_function(request: Request) -> bool:
    return "class Solution:" in request.messages[-1]["content"]


def _generated(line: str, is_function: bool) -> str:
    numbers = random.Random(line).choices(range(10**6), k=200)
    return json.dumps(numbers) if is_function else " ".join(map(str, numbers)) + "\n"


def _output(text: str, is_wrong: bool) -> str:
    right = zlib.crc32(text.encode())
    return f"{right + (is_wrong and right % 3 == 0)}\n"


@cache
def _programs() -> list[str]:
    return [path.read_text(encoding="utf-8").strip() for path in sorted(PROGRAMS.glob("*.py"))]
