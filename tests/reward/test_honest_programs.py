"""Isolation must not break honest programs: each gives what plain python3 gives, at every tier this machine forms."""

import subprocess
import sys
from pathlib import Path

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import TIERS, why_not
from reward.verdict import Execution
from xcoder_train.core.problem import Limits

PROGRAMS = sorted((Path(__file__).parent / "honest").glob("*.py"))
GENERATED_INPUTS = {"sequence_of_a_million": "".join(f"{number}\n" for number in range(1_000_000))}


def input_of(program: Path) -> str:
    given = program.with_suffix(".in")
    if given.exists():
        return given.read_bytes().decode()
    return GENERATED_INPUTS.get(program.stem, "")


@pytest.fixture(scope="module")
def plain() -> dict[str, tuple[bool, bytes]]:
    """What plain python3 does with each program: whether its exit status is 0, and its standard output."""
    results = {}
    for program in PROGRAMS:
        run = subprocess.run(
            [sys.executable, str(program)],
            input=input_of(program).encode(),
            capture_output=True,
            timeout=60,
            env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )
        results[program.stem] = (run.returncode == 0, run.stdout)
    return results


def execute_all(tier: str) -> dict[str, Execution]:
    submissions = [
        Submission(
            id=program.stem,
            code=program.read_bytes().decode(),
            inputs=(input_of(program),),
            expected=(None,),
            limits=Limits(seconds=10.0, memory_mib=512),
        )
        for program in PROGRAMS
    ]
    with Judge(JudgeSettings(tier=tier)) as judge:
        return {execution.id: execution for execution in judge.execute(submissions)}


@pytest.mark.parametrize("tier", TIERS)
def test_every_honest_program_gives_what_plain_python_gives(tier: str, plain: dict[str, tuple[bool, bytes]]) -> None:
    if (reason := why_not(tier)) is not None:
        pytest.skip(f"tier {tier} cannot be formed here: {reason}")
    assert len(PROGRAMS) >= 60
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
