"""Checkers: what each accepts, and that a checker program decides in the sandbox and never blames the program."""

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from reward.checker import LINES, ProgramChecker, parse_checker, read_checker
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission, parse_submission
from reward.verdict import Judgement, Verdict
from xcoder_core.errors import InputError
from xcoder_core.problem import Limits

READ = """
import sys
data = sys.stdin.buffer
sizes = list(map(int, data.readline().split()))
given, output, expected = (data.read(size).decode() for size in sizes)
"""
DIVISOR = READ + "print('accept' if int(given) % int(output) == 0 and 1 < int(output) < int(given) else 'refuse')"
TOLERANCE = {"kind": "float", "absolute": 1e-6, "relative": 1e-6}


def test_a_line_of_many_numbers_is_compared_in_little_memory() -> None:
    output = "7 " * 50_000
    checker = parse_checker({"kind": "unordered_lines"})
    assert not isinstance(checker, ProgramChecker)
    tracemalloc.start()
    assert checker.accepts(output, "7.0 " * 50_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 15 * len(output)  # of two such lines; a list of the numbers alone would be 30


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(JudgeSettings(), workers=2) as judge:
        yield judge


def judged(judge: Judge, code: str, checker: Any, *tests: tuple[str, str], stop: bool = False) -> Judgement:
    inputs, expected = zip(*tests, strict=True)
    submission = Submission("p", code, inputs, expected, limits=Limits(1.0, 256), checker=checker)
    (judgement,) = judge.judge([submission], stop_at_first_failure=stop)
    return judgement


@pytest.mark.parametrize(
    ("checker", "output", "expected", "right"),
    [
        (TOLERANCE, "0.3000001", "0.3", True),
        (TOLERANCE, "0.30001", "0.3", False),
        (TOLERANCE, "1000000.5", "1000000", True),
        (TOLERANCE, "YES 2.0\n3", "YES 2\n3.0", True),
        (TOLERANCE, "yes 2", "YES 2", False),
        (TOLERANCE, "1 2", "1\n2", False),
        (TOLERANCE, "nan", "1", False),
        (TOLERANCE, "inf", "1e400", False),
        (TOLERANCE, "1_0", "10", False),
        (TOLERANCE, "9" * 1_000_000, "9" * 999_999, False),
        ({"kind": "unordered_lines"}, "2 x\n1\n", "1.0\n2 x", True),
        ({"kind": "unordered_lines"}, "1\n1\n2", "1\n2\n2", False),
        ({"kind": "unordered_lines"}, "x 2", "2 x", False),
        ({"kind": "unordered_tokens"}, "3 1\n2", "1 2 3", True),
        ({"kind": "unordered_tokens"}, "3 1 2 2", "1 2 3", False),
        ({"kind": "lines"}, "1.0", "1", True),
        ({"kind": "lines"}, "2\n1", "1\n2", False),
    ],
)
def test_what_is_right(checker: dict[str, Any], output: str, expected: str, right: bool) -> None:
    parsed = parse_checker(checker)
    assert not isinstance(parsed, ProgramChecker)
    assert parsed.accepts(output, expected) is right


def test_a_program_decides_and_every_test_is_asked(judge: Judge) -> None:
    tests = (("15", ""), ("49", ""), ("21", ""))
    smallest = "n = int(input())\nprint(next(d for d in range(2, n) if n % d == 0) if n != 49 else 5)"
    judgement = judged(judge, smallest, ProgramChecker(DIVISOR), *tests)
    assert [test.verdict for test in judgement.tests] == [Verdict.AC, Verdict.WA, Verdict.AC]
    assert (judgement.verdict, judgement.passed) == (Verdict.WA, 2)
    assert len(judged(judge, smallest, ProgramChecker(DIVISOR), *tests, stop=True).tests) == 2


def test_only_the_checker_gets_the_expected_output(judge: Judge) -> None:
    sees = ProgramChecker(READ + "print('accept' if expected == 'secret' and output == 'déjà\\n' else 'refuse')")
    assert judged(judge, "print('déjà')", sees, ("", "secret")).verdict is Verdict.AC
    echo = ProgramChecker(READ + "print('accept' if output.strip() == expected else 'refuse')")
    peek = "import gc, sys\nprint(''.join(o for o in gc.get_objects() if isinstance(o, str)) or sys.stdin.read())"
    assert judged(judge, peek, echo, ("", "secret")).verdict is Verdict.WA


def test_a_program_that_fails_is_not_shown_to_the_checker(judge: Judge) -> None:
    accepts_all = ProgramChecker("print('accept')")
    assert judged(judge, "1 / 0", accepts_all, ("", "")).verdict is Verdict.RE
    assert judged(judge, "print(", accepts_all, ("", "")).verdict is Verdict.CE
    assert judged(judge, "while True: pass", accepts_all, ("", "")).verdict is Verdict.TLE


@pytest.mark.parametrize(
    "code", ["1 / 0", "print(", "print('perhaps')", "", "import os\nos.fork()", "print('accept' * 9)"]
)
def test_a_checker_that_does_not_say_is_no_verdict_on_the_program(judge: Judge, code: str) -> None:
    judgement = judged(judge, "print(1)", ProgramChecker(code), ("", "1"))
    assert judgement.verdict is Verdict.IE
    assert "the checker" in judgement.message
    assert judged(judge, "print(1)", LINES, ("", "1")).verdict is Verdict.AC


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_a_checker_in_cpp(judge: Judge) -> None:
    code = """#include <bits/stdc++.h>
    int main() {
        size_t a, b, c;
        std::cin >> a >> b >> c;
        std::cin.get();
        std::string text((std::istreambuf_iterator<char>(std::cin)), {});
        puts(text.substr(a, b) == "7\\n" && text.substr(a + b) == "seven" ? "accept" : "refuse");
    }"""
    assert judged(judge, "print(7)", ProgramChecker(code, "cpp"), ("x", "seven")).verdict is Verdict.AC
    assert judged(judge, "print(8)", ProgramChecker(code, "cpp"), ("x", "seven")).verdict is Verdict.WA


@pytest.mark.parametrize(
    ("checker", "message"),
    [
        ({}, "one of lines, float"),
        ("lines", "expected an object"),
        ({"kind": "exact"}, "one of lines, float"),
        ({"kind": ["lines"]}, "one of lines, float"),
        ({"kind": "float", "absolute": 10**400, "relative": 0}, "checker.absolute: expected a number"),
        ({"kind": "float", "absolute": 0, "relative": 10**400}, "checker.relative: expected a number"),
        ({"kind": "float", "absolute": 1e-6}, "checker.relative: expected a number"),
        ({"kind": "float", "absolute": -1, "relative": 0}, "checker.absolute"),
        ({"kind": "float", "absolute": True, "relative": 0}, "checker.absolute"),
        ({"kind": "lines", "absolute": 1}, "unknown field 'absolute'"),
        ({"kind": "program"}, "checker.code: expected text"),
        ({"kind": "program", "code": "", "language": "cobol"}, "'cobol' is not known"),
    ],
)
def test_a_wrong_checker_is_named(checker: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_checker(checker)


def test_a_checker_stands_in_a_problem_as_text_and_in_a_submission_as_an_object() -> None:
    assert read_checker("lines") == LINES
    assert read_checker(json.dumps(TOLERANCE)) == parse_checker(TOLERANCE)
    line = {"id": "p", "code": "", "tests": [{"input": "", "expected": ""}], "checker": TOLERANCE}
    assert parse_submission(json.dumps(line)).checker == parse_checker(TOLERANCE)


def test_a_checker_where_it_would_have_no_say_is_refused() -> None:
    checker = parse_checker(TOLERANCE)
    with pytest.raises(InputError, match="functions return JSON values"):
        Submission("p", "", ("1",), ("1",), function_name="f", checker=checker)
    with (
        Judge(JudgeSettings(policy="livecodebench"), workers=1) as judge,
        pytest.raises(InputError, match="has its own"),
    ):
        judged(judge, "", checker, ("", ""))
