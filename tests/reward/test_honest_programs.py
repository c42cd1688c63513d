"""Isolation must not break honest programs: each gives what plain python3 gives, at every tier this machine forms."""

import subprocess
import sys

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import TIERS
from reward.verdict import Execution
from tests.reward.corpora import HONEST, honest_input, honest_submission, skip_unless_formed


@pytest.fixture(scope="module")
def plain() -> dict[str, tuple[bool, bytes]]:
    """What plain python3 does with each program: whether its exit status is 0, and its standard output."""
    results = {}
    for program in HONEST:
        run = subprocess.run(
            [sys.executable, str(program)],
            input=honest_input(program).encode(),
            capture_output=True,
            timeout=60,
            env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )
        results[program.stem] = (run.returncode == 0, run.stdout)
    return results


def execute_all(tier: str) -> dict[str, Execution]:
    with Judge(JudgeSettings(tier=tier)) as judge:
        return {execution.id: execution for execution in judge.execute(map(honest_submission, HONEST))}


def test_the_promised_packages_are_there_for_programs() -> None:
    code = "from sortedcontainers import SortedList\nimport numpy\nprint(SortedList(numpy.array([3, 1, 2]))[0])"
    with Judge(JudgeSettings(workers=1)) as judge:
        (judgement,) = judge.judge([Submission("a", code, ("",), ("1",))], stop_at_first_failure=False)
    assert judgement.verdict == "AC", judgement


@pytest.mark.parametrize("tier", TIERS)
def test_every_honest_program_gives_what_plain_python_gives(tier: str, plain: dict[str, tuple[bool, bytes]]) -> None:
    skip_unless_formed(tier)
    assert len(HONEST) >= 150
    differences = []
    for name, execution in execute_all(tier).items():
        (run,) = execution.runs
        ended_well, output = plain[name]
        same = (
            run.status == "OK" and (run.output or "").encode() == output if ended_well else run.status in ("RE", "CE")
        )
        if not same:
            differences.append((name, run.status, (run.output or "")[:200], run.error[-300:], output[:200]))
    assert not differences
