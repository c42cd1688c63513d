"""Programs of two o1 models on LiveCodeBench: the official checker's verdicts on the statements' sample tests, and the
kinds of those that plain Python judges otherwise.

    XCODER_LIVECODEBENCH_SAMPLES=FILE pytest -m slow tests/reward/test_real_submissions.py

FILE is JSON lines, packed by xz or not, with `tests` ({"input", "output"}), `function_name`, `code` and
`official_passes_samples`. It is not part of the repository.
"""

import json
import lzma
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reward.config import JudgeSettings, Policy
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Judgement, Verdict
from xcoder_core.problem import Limits

SAMPLES = os.environ.get("XCODER_LIVECODEBENCH_SAMPLES")
LIMITS = Limits(6.0, 2048)


@dataclass(frozen=True)
class Kind:
    """What a program does, how it is told in a program's text, and the smallest such program, which adds two numbers
    that stand on two lines. `count` is how many of the real programs there are."""

    name: str
    mark: str
    example: str
    count: int


KINDS = (
    Kind(
        "a thread that is not joined",
        r"Thread\(target=\w+,?\)\.start\(\)",
        "import threading, time\ndef main():\n    a, b = input(), input()\n    time.sleep(0.3)\n"
        "    print(int(a) + int(b))\nthreading.Thread(target=main).start()\n",
        18,
    ),
    Kind("open(0)", r"open\(0\)", "a, b = open(0).read().split()\nprint(int(a) + int(b))\n", 7),
    Kind(
        "read after readline",
        r"readline\(\)[\s\S]*sys\.stdin\.read\(\)",
        "import sys\na = int(sys.stdin.readline())\nprint(a + sum(map(int, sys.stdin.read().split())))\n",
        4,
    ),
    Kind(
        "standard input is iterated", r"in sys\.stdin:", "import sys\nprint(sum(int(line) for line in sys.stdin))\n", 1
    ),
)


def judged(policy: Policy, submissions: Iterable[Submission], workers: int = 2) -> dict[str, Judgement]:
    with Judge(JudgeSettings(policy=policy), workers=workers) as judge:
        return {judgement.id: judgement for judgement in judge.judge(submissions, stop_at_first_failure=True)}


def is_decided_by_the_machine(judgement: Judgement, code: str) -> bool:
    """The program is near the limit of time, which a faster processor keeps, or a thread that is not joined races with
    the end of the program. The official checker, run again on another machine, gives these other verdicts too."""
    seconds = max((test.wall_seconds for test in judgement.tests), default=0.0)
    return seconds > LIMITS.seconds / 3 or re.search(KINDS[0].mark, code) is not None


def test_each_kind_has_a_small_program_that_only_plain_python_takes() -> None:
    programs = [Submission(kind.name, kind.example, ("3\n4\n",), ("7\n",), limits=Limits(2.0, 256)) for kind in KINDS]
    assert all(judgement.verdict is Verdict.AC for judgement in judged("faithful", programs).values())
    assert not any(judgement.verdict is Verdict.AC for judgement in judged("livecodebench", programs).values())


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    if SAMPLES is None:
        pytest.skip("set XCODER_LIVECODEBENCH_SAMPLES to the file of real programs")
    path = Path(SAMPLES)
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        return [json.loads(line) for line in lines]


def otherwise(policy: Policy, rows: list[dict[str, Any]]) -> list[tuple[Judgement, str]]:
    """Judgement and program wherever it is not the official one. What took too long beside others is run once more
    alone: the official limit is wall-clock time."""
    programs = {
        str(number): Submission(
            str(number),
            row["code"],
            tuple(test["input"] for test in row["tests"]),
            tuple(test["output"] for test in row["tests"]),
            row["function_name"],
            LIMITS,
        )
        for number, row in enumerate(rows)
    }
    judgements = judged(policy, programs.values())
    late = [programs[name] for name, judgement in judgements.items() if judgement.verdict is Verdict.TLE]
    judgements |= judged(policy, late, workers=1) if late else {}
    return [
        (judgement, rows[int(name)]["code"])
        for name, judgement in judgements.items()
        if (judgement.verdict is Verdict.AC) != rows[int(name)]["official_passes_samples"]
    ]


@pytest.mark.slow
def test_the_official_policy_agrees_with_the_official_checker_on_real_programs(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 1756
    differing = otherwise("livecodebench", rows)
    assert len(differing) <= 5, differing
    assert all(is_decided_by_the_machine(judgement, code) for judgement, code in differing), differing


@pytest.mark.slow
def test_plain_python_differs_on_the_known_kinds_alone(rows: list[dict[str, Any]]) -> None:
    kinds: Counter[str] = Counter()
    for judgement, code in otherwise("faithful", rows):
        kind = next((kind.name for kind in KINDS if re.search(kind.mark, code)), None)
        if kind is None and is_decided_by_the_machine(judgement, code):
            continue
        kinds[kind or code] += 1
    assert kinds.keys() == {kind.name for kind in KINDS}
    assert all(0 <= kinds[kind.name] - kind.count <= 1 for kind in KINDS)  # one of the threads races
