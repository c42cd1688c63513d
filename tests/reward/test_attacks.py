"""Hostile programs, whose headers say which verdicts are allowed, are held at every tier and leave nothing behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import TIERS
from reward.verdict import Verdict
from tests.reward.corpora import ATTACKS, CANARY, OUTPUT_MIB, Attack, skip_unless_formed

GOOD = Submission("good", "a, b = map(int, input().split())\nprint(a + b)\n", ("3 4\n",), ("7\n",))
FOLDERS_TO_WATCH = ("/tmp", "/var/tmp", "/dev/shm", "/", ".")


@pytest.fixture(scope="module", params=TIERS)
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    skip_unless_formed(request.param)
    os.environ[CANARY] = "secret"
    with Judge(JudgeSettings(tier=request.param, output_mib=OUTPUT_MIB), workers=1) as judge:
        yield judge
    del os.environ[CANARY]


def left_behind() -> list[str]:
    return [str(path) for folder in FOLDERS_TO_WATCH for path in Path(folder).glob("pwned*")]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_held_and_the_next_program_is_judged_right(judge: Judge, attack: Attack) -> None:
    verdict, following = judge.judge([attack.submission, GOOD], stop_at_first_failure=True)
    assert verdict.verdict.value in attack.allowed_verdicts
    assert following.verdict is Verdict.AC
    assert left_behind() == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_does_not_report_a_success(judge: Judge, attack: Attack) -> None:
    if attack.allowed_verdicts <= {"TLE", "RE", "OLE"}:
        pytest.skip("it prints nothing that a verdict would keep")
    (execution,) = judge.execute([attack.submission])
    assert "PWNED" not in (execution.runs[0].output or "")
