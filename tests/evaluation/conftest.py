"""Inputs of these tests: rows in LiveCodeBench's format, and a generator that replays given completions."""

import base64
import json
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from reward.config import JudgeSettings
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings

RIGHT_SUM = "```python\nprint(sum(map(int, input().split())))\n```"
RIGHT_DOUBLE = "```python\nclass Solution:\n    def double(self, x):\n        return 2 * x\n```"


def encode_private(tests: list[dict[str, str]]) -> str:
    """Private tests as LiveCodeBench stores them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def stdin_row(**changed: Any) -> dict[str, Any]:
    """An AtCoder-like row: read integers, print their sum."""
    return {
        "question_title": "Sum",
        "question_content": "Print the sum of the integers on the line.",
        "platform": "atcoder",
        "question_id": "abc400_a",
        "contest_id": "abc400",
        "contest_date": "2025-02-01T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3", "testtype": "stdin"}]),
        "private_test_cases": encode_private([{"input": "4 5\n", "output": "9\n", "testtype": "stdin"}]),
        "metadata": "{}",
    } | changed


def function_row(**changed: Any) -> dict[str, Any]:
    """A LeetCode-like row: double a number."""
    return (
        stdin_row(
            question_title="Double",
            question_content="Return twice x.",
            platform="leetcode",
            question_id="3500",
            contest_date="2025-03-08T18:30:00",
            starter_code="class Solution:\n    def double(self, x: int) -> int:\n        ",
            difficulty="hard",
            public_test_cases=json.dumps([{"input": "2", "output": "4", "testtype": "functional"}]),
            private_test_cases=json.dumps([{"input": "-3", "output": "-6", "testtype": "functional"}]),
            metadata='{"func_name": "double"}',
        )
        | changed
    )


class Replay:
    """A generator whose answers were given beforehand: (part of the prompt) -> completion per sample index.

    It answers in reverse order. After `stop_after` answers it breaks off, as a killed process would.
    """

    def __init__(self, answers: dict[str, list[str]], stop_after: int | None = None, cut_off: str = "never") -> None:
        self.answers, self.stop_after, self.cut_off = answers, stop_after, cut_off
        self.asked: list[str] = []
        self.seeds: list[int] = []

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        for done, request in enumerate(reversed(list(requests))):
            if done == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(request.id)
            self.seeds.append(request.seed)
            prompt = request.messages[-1]["content"]
            text = next(answers for part, answers in self.answers.items() if part in prompt)[int(request.id[-1])]
            reason = "length" if self.cut_off in text else "stop"
            tokens = tuple(range(len(text) + 1))
            yield Completion(request.id, text, tokens, reason, len(prompt), len(tokens))


@pytest.fixture
def rows() -> dict[str, Callable[..., dict[str, Any]]]:
    return {"stdin": stdin_row, "function": function_row}


@pytest.fixture
def replay() -> type[Replay]:
    return Replay


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    def write(*given: dict[str, Any], name: str = "bench.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
        return path

    return write


@pytest.fixture
def settings() -> EvaluationSettings:
    return EvaluationSettings(samples=4, k=(1, 4), bootstrap=500, sampling=SamplingSettings(max_new_tokens=64))


@pytest.fixture
def judge_settings() -> JudgeSettings:
    return JudgeSettings(workers=2)
