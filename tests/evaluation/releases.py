"""A whole release of LiveCodeBench of our own: six files in the official format, made by code from task templates.

The files have the official numbers of rows (400, 111, 101, 101, 167, 175), and the dates of their contests are such
that every published window holds its known count. Each problem is a template with a constant, as a stdin problem
(AtCoder, Codeforces) or as a function problem (LeetCode), with public tests and encoded private ones. `answer` solves
a problem from its statement, so that a model can be played.
"""

import base64
import json
import pickle
import random
import re
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

TEMPLATES = {
    "the sum of the integers, times {c}": "sum(values) * {c}",
    "the largest integer plus {c}": "max(values) + {c}",
    "the smallest integer minus {c}": "min(values) - {c}",
    "the difference of the largest and the smallest integer, times {c}": "(max(values) - min(values)) * {c}",
    "how many integers are divisible by {c}": "sum(value % {c} == 0 for value in values)",
    "how many integers exceed {c}": "sum(value > {c} for value in values)",
    "the remainder of the sum divided by {c}": "sum(values) % {c}",
    "how many different remainders modulo {c} there are": "len(set(value % {c} for value in values))",
    "the sum of the squares plus {c}": "sum(value * value for value in values) + {c}",
    "the first integer times {c}": "values[0] * {c}",
    "the last integer plus {c}": "values[-1] + {c}",
    "the number of integers times {c}": "len(values) * {c}",
    "the middle integer in sorted order (the upper of two), plus {c}": "sorted(values)[len(values) // 2] + {c}",
    "how many integers differ from {c}": "sum(value != {c} for value in values)",
    "the sum of the positions, from 1, of integers above {c}": "sum(i for i, v in enumerate(values, 1) if v > {c})",
    "the largest difference of neighbours, plus {c}": (
        "max((abs(a - b) for a, b in zip(values, values[1:])), default=0) + {c}"
    ),
    "the alternating sum, times {c}": "sum(v if i % 2 == 0 else -v for i, v in enumerate(values)) * {c}",
    "the number of different integers plus {c}": "len(set(values)) + {c}",
    "the largest sum of consecutive integers, plus {c}": (
        "max(sum(values[i:j]) for i in range(len(values)) for j in range(i + 1, len(values) + 1)) + {c}"
    ),
    "the bitwise exclusive or of all integers and {c}": (
        "__import__('functools').reduce(lambda a, b: a ^ b, values, {c})"
    ),
    "how many pairs of positions have a sum divisible by {c}": (
        "sum((values[i] + values[j]) % {c} == 0 for i in range(len(values)) for j in range(i))"
    ),
    "the sum of the integers cut off at {c}": "sum(min(value, {c}) for value in values)",
    "the sum of the digits of all integers, times {c}": "sum(int(d) for v in values for d in str(abs(v))) * {c}",
    "the second largest integer (the largest if there is one only), plus {c}": "(sorted(values)[-2:])[0] + {c}",
}
ROWS = {1: 400, 2: 111, 3: 101, 4: 101, 5: 167, 6: 175}
DIFFICULTIES = ("easy", "medium", "hard")
STATEMENT = re.compile(r"Task (\d+): (?:print|return) (.*)\. There are between")


def write_release(folder: Path, files: tuple[int, ...] = (1, 2, 3, 4, 5, 6)) -> Path:
    """The files of a release in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for number, rows in ROWS.items():
        if number in files:
            name = "test.jsonl" if number == 1 else f"test{number}.jsonl"
            with open(folder / name, "w", encoding="utf-8") as lines:
                for row, date in enumerate(dates(number)):
                    lines.write(json.dumps(problem(first + row, date)) + "\n")
        first += rows
    return folder


def dates(number: int) -> Iterator[datetime]:
    """When the contests of a file's problems were: LeetCode's have a time of the day, AtCoder's do not."""
    rows = ROWS[number]
    if number <= 3:
        early = rows - 11 if number == 3 else rows
        yield from _spread(early, datetime(2023, 5, 7), datetime(2024, 7, 28))
        yield from _spread(rows - early, datetime(2024, 8, 1), datetime(2024, 8, 3))
    elif number <= 5:
        yield from _spread(rows, datetime(2024, 8, 3), datetime(2025, 1, 4))
    else:
        yield from _spread(44, datetime(2025, 1, 5), datetime(2025, 1, 31))
        yield from _spread(rows - 44, datetime(2025, 2, 2), datetime(2025, 4, 6))


def problem(number: int, date: datetime) -> dict[str, Any]:
    """The row of problem `number`."""
    chance = random.Random(number)
    wording, expression = list(TEMPLATES.items())[number % len(TEMPLATES)]
    constant = 2 + number // len(TEMPLATES)
    is_function = number % 5 in (1, 3)
    tests = []
    for size in (1, 3, 4, 6, 9, 12):
        values = [chance.randint(-60, 60) for _ in range(size)]
        result = eval(expression.format(c=constant), {"values": values})
        given = json.dumps(values) if is_function else " ".join(map(str, values)) + "\n"
        output = json.dumps(result) if is_function else f"{result}\n"
        tests.append({"input": given, "output": output, "testtype": "functional" if is_function else "stdin"})
    verb = "return" if is_function else "print"
    return {
        "question_title": f"Task {number}",
        "question_content": (
            f"Task {number}: {verb} {wording.format(c=constant)}. There are between 1 and 12 integers in one line."
        ),
        "platform": "leetcode" if is_function else ("codeforces" if number % 50 == 0 else "atcoder"),
        "question_id": f"{3000 + number}" if is_function else f"abc{number:04d}_a",
        "contest_id": f"contest-{number // 6}",
        "contest_date": (date + timedelta(hours=10 if is_function else 0)).isoformat(),
        "starter_code": (
            "class Solution:\n    def answer(self, values: List[int]) -> int:\n        " if is_function else ""
        ),
        "difficulty": DIFFICULTIES[number * 7 % 3],
        "public_test_cases": json.dumps(tests[:2]),
        "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests[2:])))).decode(),
        "metadata": json.dumps({"func_name": "answer"} if is_function else {}),
    }


def answer(prompt: str) -> str:
    """A right program for the problem that a prompt is about, in a fenced block."""
    return f"Here it is.\n\n```python\n{program(prompt)}\n```"


def program(statement: str) -> str:
    """A right program for the problem in a statement."""
    found = STATEMENT.search(statement)
    assert found is not None, statement
    number = int(found[1])
    expression = list(TEMPLATES.values())[number % len(TEMPLATES)].format(c=2 + number // len(TEMPLATES))
    if number % 5 in (1, 3):
        return f"class Solution:\n    def answer(self, values):\n        return {expression}"
    return f"values = list(map(int, input().split()))\nprint({expression})"


def _spread(rows: int, first: datetime, last: datetime) -> Iterator[datetime]:
    days = (last - first).days
    for row in range(rows):
        yield first + timedelta(days=row * days // max(1, rows - 1))
