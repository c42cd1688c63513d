"""Tests that run one after another in one process: the limits are those of each test, and reports are not believed."""

import math
from collections.abc import Iterator

import pytest

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Verdict

TESTS, CHARACTERS = 8, 300_000
"""Each within the output limit of 1 MiB, all together beyond it."""
TEXT = "x" * CHARACTERS
PROGRAM = f"import sys\nprint('x' * {CHARACTERS})\nsys.stderr.write('y' * NOISE)\n"
FUNCTION = """
class Solution:
    def repeat(self, number):
        print("y" * NOISE)
        return "x" * number
"""
FORGED = """
import math, os, struct
class Solution:
    def repeat(self, number):
        os.write(3, struct.pack("<Bdq", 0, SECONDS, 3) + b'"x"')
        os._exit(0)
"""


@pytest.fixture(scope="module", params=["faithful", "livecodebench"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    with Judge(JudgeSettings(policy=request.param, output_mib=1), workers=1) as judge:
        yield judge


def function(code: str, *numbers: int, share_process: bool = True) -> Submission:
    expected = tuple('"' + "x" * number + '"' for number in numbers)
    return Submission("f", code, tuple(map(str, numbers)), expected, "repeat", share_process=share_process)


def verdicts(judge: Judge, submission: Submission) -> list[str]:
    [judgement] = judge.judge([submission], stop_at_first_failure=False)
    return [test.verdict.value for test in judgement.tests]


@pytest.mark.parametrize("noise", ["0", str(CHARACTERS)])
def test_what_earlier_tests_wrote_takes_nothing_from_the_limit_of_a_later_one(judge: Judge, noise: str) -> None:
    program = Submission("p", PROGRAM.replace("NOISE", noise), ("",) * TESTS, (TEXT,) * TESTS)
    assert verdicts(judge, program) == ["AC"] * TESTS
    assert verdicts(judge, function(FUNCTION.replace("NOISE", noise), *[CHARACTERS] * TESTS)) == ["AC"] * TESTS


def test_a_test_that_writes_too_much_is_told_from_those_beside_it(judge: Judge) -> None:
    found = verdicts(judge, function(FUNCTION.replace("NOISE", "0"), 1, 2_000_000, 3))
    after = [] if judge.settings.policy == "livecodebench" else ["AC"]  # there, nothing runs after its process died
    assert found == ["AC", "OLE", *after]


@pytest.mark.parametrize("seconds", ["math.nan", "math.inf", "-1.0"])
def test_a_forged_report_of_time_is_no_report(judge: Judge, seconds: str) -> None:
    [judgement] = judge.judge([function(FORGED.replace("SECONDS", seconds), 1)], stop_at_first_failure=False)
    assert judgement.verdict is Verdict.RE
    assert 0 <= judgement.tests[0].cpu_seconds < math.inf
