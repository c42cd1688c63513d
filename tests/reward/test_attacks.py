"""Hostile programs: each file's header says which verdicts are allowed. No attack leaves anything behind."""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.tiers import TIERS, why_not
from reward.verdict import Verdict
from xcoder_train.core.problem import Limits

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.py"))
ROOT = Path(__file__).parents[2]
EXPECTED = "7\nEXPECTED_CANARY_7f3a\n"
SLOW_BY_NATURE = {"17_deep_recursion_segv": 20.0}
"""CPU seconds to grant where the attack's own way to its end is long; one second for the others."""
GOOD = Submission("good", "a, b = map(int, input().split())\nprint(a + b)\n", ("3 4\n",), ("7\n",))
FOLDERS_TO_WATCH = ("/tmp", "/var/tmp", "/dev/shm", "/", ".")


@pytest.fixture(scope="module", params=TIERS)
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    if (reason := why_not(request.param)) is not None:
        pytest.skip(f"tier {request.param} cannot be formed here: {reason}")
    os.environ["JUDGE_CANARY_TOKEN"] = "secret"
    with Judge(JudgeSettings(tier=request.param, output_mib=4), workers=1) as judge:
        yield judge
    del os.environ["JUDGE_CANARY_TOKEN"]


def submission_of(attack: Path) -> Submission:
    code = attack.read_text()
    is_function = "# MODE: func" in code
    return Submission(
        id=attack.stem,
        code=code,
        inputs=("3\n4",) if is_function else ("3 4\n",),
        expected=("7",) if is_function else (EXPECTED,),
        function_name="add" if is_function else None,
        limits=Limits(seconds=SLOW_BY_NATURE.get(attack.stem, 1.0), memory_mib=256),
    )


def allowed_verdicts(attack: Path) -> set[str]:
    found = re.search(r"# EXPECT: (\S+)", attack.read_text())
    assert found is not None
    return set(found[1].split("|"))


def left_behind() -> list[str]:
    return [str(path) for folder in FOLDERS_TO_WATCH for path in Path(folder).glob("pwned*")]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda path: path.stem)
def test_attack_is_held_and_the_next_program_is_judged_right(judge: Judge, attack: Path) -> None:
    submission = submission_of(attack)
    verdict, following = judge.judge([submission, GOOD], stop_at_first_failure=True)
    assert verdict.verdict.value in allowed_verdicts(attack)
    assert following.verdict is Verdict.AC
    assert left_behind() == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda path: path.stem)
def test_attack_does_not_report_a_success(judge: Judge, attack: Path) -> None:
    if allowed_verdicts(attack) <= {"TLE", "RE", "OLE"}:
        pytest.skip("it prints nothing that a verdict would keep")
    (execution,) = judge.execute([submission_of(attack)])
    assert "PWNED" not in (execution.runs[0].output or "")


def test_attacks_succeed_without_isolation() -> None:
    """An attack that could never succeed proves nothing: two harmless ones, run by plain Python, do succeed."""
    for name in ("48_io_uring", "52_flock_covert_channel", "27_subprocess_popen"):
        attack = Path(__file__).parent / "attacks" / f"{name}.py"
        run = subprocess.run([sys.executable, str(attack)], capture_output=True, text=True, timeout=30)
        if "PWNED" in run.stdout:
            return
    pytest.fail("none of the attacks works even without isolation: they test nothing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_attacks_are_held_for_an_unprivileged_user() -> None:
    """The whole judge as user nobody, with a Python that this user can read; attacks on the clock are left out."""
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("platlib")]), "HOME": "/"}
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "env": environment}
    for python in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            probe = [python, "-c", "import pytest, pydantic, reward.judge"]
            if subprocess.run(probe, capture_output=True, **nobody).returncode == 0:
                break
        except OSError:
            continue
    else:
        pytest.skip("no Python that user nobody can run has pytest and pydantic")
    slow = " or ".join(("10_", "13_", "15_", "16_", "17_", "21_", "unprivileged"))
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), __file__]
    run = subprocess.run([*command, "-k", f"not ({slow})"], capture_output=True, text=True, timeout=120, **nobody)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
