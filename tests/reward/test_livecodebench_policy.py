"""The `livecodebench` policy: the official checker's verdicts, short of what it lets escape or cheat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward.compare import officially_same_output, officially_same_value
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Judgement, Verdict
from xcoder_core.problem import Limits

CASES = [json.loads(line) for line in (Path(__file__).parent / "livecodebench_verdicts.jsonl").open()]
OFFICIAL_LIMIT_SECONDS = 6.0
SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
LATE = {
    *("fn_tle_compile", "fn_tle_swallow", "slow_ok_5s", "thread_inf", "tle_cancel_alarm", "tle_second"),
    *("tle_swallow_bare_except", "tle_swallow_loop", "tle_swallow_redirect"),
}
REMEMBERS = "import sys\nsys.seen = getattr(sys, 'seen', 0) + 1\nprint(sys.seen)\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(policy="livecodebench"), workers=2) as judge:
        yield judge


def case_submission(case: dict[str, Any]) -> Submission:
    tests = case["tests"]
    return Submission(
        case["id"],
        case["code"],
        tuple(tests["inputs"]),
        tuple(tests["outputs"]),
        function_name=tests["fn_name"],
        limits=Limits(OFFICIAL_LIMIT_SECONDS, 1024),
    )


def judged(judge: Judge, code: str, *tests: tuple[str, str], seconds: float = 1.0) -> Judgement:
    inputs, expected = zip(*tests, strict=True)
    submission = Submission("p", code, inputs, expected, limits=Limits(seconds, 256))
    (judgement,) = judge.judge([submission], stop_at_first_failure=False)
    return judgement


@pytest.mark.parametrize("in_time", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["in time", "late"])
def test_every_verdict_is_the_official_one_and_unsafe_programs_never_pass(judge: Judge, in_time: bool) -> None:
    """Those that run for seconds, most of them to the limit, are apart."""
    cases = [case for case in CASES if case["tests"]["inputs"]]  # without tests everything passes there, nothing here
    assert len(cases) == 198
    cases = [case for case in cases if (case["id"] not in LATE) == in_time]
    differences = []
    judgements = judge.judge(map(case_submission, cases), stop_at_first_failure=True)
    for case, judgement in zip(cases, judgements, strict=True):
        should_pass = case["official_pass"] and case["official_bug"] != "UNSAFE"
        if (judgement.verdict is Verdict.AC) != should_pass:
            differences.append((case["id"], judgement.verdict, case["note"]))
        assert judgement.policy == "livecodebench"
    assert not differences


IMPORTS_LATE = "def main():\n    import {0}\n    print({0}.__name__)\nmain()\n"
QUOTED = "from dataclasses import dataclass\n@dataclass\nclass Node:\n    after: 'Node' = None\nprint('made')\n"


@pytest.mark.parametrize(
    ("code", "expected", "verdict"),
    [
        (
            IMPORTS_LATE.format("numpy"),
            "numpy",
            Verdict.AC,
        ),  # neither could be imported without os.getcwd and os.putenv
        (IMPORTS_LATE.format("multiprocessing"), "multiprocessing", Verdict.AC),
        (QUOTED, "made", Verdict.RE),
        ("print('__file__' in globals(), repr(__doc__))\n", "False ''", Verdict.AC),
    ],
)
def test_a_program_finds_what_it_finds_in_the_official_process(
    judge: Judge, code: str, expected: str, verdict: Verdict
) -> None:
    assert judged(judge, code, ("", expected), seconds=5.0).verdict is verdict


def test_tests_share_a_process_and_none_runs_after_its_death(judge: Judge) -> None:
    judgement = judged(judge, REMEMBERS, ("", "1"), ("", "2"), ("", "2"))
    assert [test.verdict for test in judgement.tests] == [Verdict.AC, Verdict.AC, Verdict.WA]
    dying = "a = int(input())\nif a == 2:\n    raise KeyboardInterrupt\nprint(a)\n"
    judgement = judged(judge, dying, ("1", "1"), ("2", "2"), ("3", "3"))
    assert [test.verdict for test in judgement.tests] == [Verdict.AC, Verdict.RE]
    assert (judgement.verdict, judgement.passed, judgement.total) == (Verdict.RE, 1, 3)


def test_a_test_over_time_is_told_from_a_failed_one_and_the_next_still_runs(judge: Judge) -> None:
    slow = "a = int(input())\nwhile a == 2:\n    pass\nprint(8 // a)\n"
    judgement = judged(judge, slow, ("1", "8"), ("2", "4"), ("0", "0"), ("4", "2"))
    assert [test.verdict for test in judgement.tests] == [Verdict.AC, Verdict.TLE, Verdict.RE, Verdict.AC]


@pytest.mark.parametrize(
    ("code", "hears_the_alarm"),
    [
        ("while True:\n    pass\n", True),
        ("print(sum(range(10**15)))\n", False),
        ("while True:\n    try:\n        while True:\n            pass\n    except Exception:\n        pass\n", False),
    ],
    ids=["loop", "in C", "catches the alarm"],
)
def test_a_program_that_hangs_is_not_waited_for_as_long_as_forty_tests_may_take(
    judge: Judge, code: str, hears_the_alarm: bool
) -> None:
    submission = Submission("p", code, ("1",) * 40, ("3",) * 40, limits=Limits(0.2, 256))
    (judgement,) = judge.judge([submission], stop_at_first_failure=True)
    (test,) = judgement.tests
    assert judgement.verdict is Verdict.TLE
    # Of 8 seconds, where all ran to their limits. The alarm rings by the clock; CPU time ends what does not hear it.
    assert test.wall_seconds < 4.0 if hears_the_alarm else test.cpu_seconds < 2.5


def test_standard_input_below_the_stand_in_holds_no_other_tests(judge: Judge) -> None:
    peek = "import os\nos.lseek(0, 0, 0)\nprint(os.read(0, 100))\n"
    assert judged(judge, peek, ("secret", "b''"), ("more", "b''")).verdict is Verdict.AC


def test_execution_is_that_of_python_whatever_the_policy(judge: Judge) -> None:
    (execution,) = judge.execute([Submission("p", REMEMBERS, ("", ""), (None, None))])
    assert [run.output for run in execution.runs] == ["1\n", "1\n"]


def test_the_next_program_finds_nothing_of_the_last(judge: Judge) -> None:
    assert judged(judge, "import builtins\nbuiltins.print = None\nimport os\nos.read = None\n", ("", "")).passed == 1
    assert judged(judge, SUM, ("1 2", "3")).verdict is Verdict.AC


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("1_000", "1000", True),
        ("１２", "12", True),
        ("inf", "Infinity", True),
        ("nan", "nan ", True),
        ("nan 1", "nan  1", False),
        ("sNaN", "1", False),
        ("1 2", "1\n2", False),
        ("1e1000000", "1e1000001", False),
        ("9" * 200_000, "9" * 199_999 + "8", False),
    ],
)
def test_texts(ours: str, theirs: str, same: bool) -> None:
    assert officially_same_output(ours, theirs) is same


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("1", "true", True),
        ("1.0", "1", True),
        ("7" * 5000, "7" * 5000, True),
        ("7" * 5000, "7" * 4999 + "8", False),
        ("Infinity", "Infinity", True),
        ("NaN", "NaN", False),
        ('"1"', "1", False),
        ("", "null", False),
        ("[" * 100_000, "[]", False),
    ],
)
def test_values(ours: str, theirs: str, same: bool) -> None:
    assert officially_same_value(ours, theirs) is same
