"""Programs that name their tests are seen, and honest programs with constants are not."""

import pytest

from reward.trl import names_its_tests
from reward.verdict import TestResult, Verdict

INPUTS = ("3 4\n", "10 20\n", "7 7\n", "1 1\n")
EXPECTED = ("7\n", "30\n", "14\n", "2\n")
HARD_CODED = "s = input()\nprint({'3 4': 7, '10 20': 30}.get(s, 0))"


def _named(code: str, passed: int, inputs: tuple[str, ...] = INPUTS, expected: tuple[str, ...] = EXPECTED) -> bool:
    verdicts = [Verdict.AC] * passed + [Verdict.WA] * (len(inputs) - passed)
    return names_its_tests(code, inputs, expected, [TestResult(verdict) for verdict in verdicts])


@pytest.mark.parametrize(
    "code",
    [
        HARD_CODED,
        "a, b = map(int, input().split())\nif a == 3 and b == 4: print(7)\nelif (a, b) == (10, 20): print(30)",
        "s = input()\nif s == '3 4':\n    print('7')\nif s == '10 20':\n    print('30')",
    ],
)
def test_a_program_that_answers_the_tests_by_heart_is_seen(code: str) -> None:
    assert _named(code, passed=2)


@pytest.mark.parametrize(
    ("code", "passed"),
    [
        ("print(sum(map(int, input().split())))", 4),
        ("a, b = map(int, input().split())\nprint(a + b if a != 3 else 7)", 4),  # one test is a base case
        (HARD_CODED, 1),
        ("print(7)", 1),
        ("print(", 2),
        ("x = '\x00", 2),
    ],
)
def test_other_programs_are_not(code: str, passed: int) -> None:
    assert not _named(code, passed)


def test_a_few_named_tests_of_many_are_base_cases() -> None:
    inputs = tuple(f"{n}\n" for n in range(12))
    expected = tuple(f"{n + 100}\n" for n in range(12))
    base_cases = "n = int(input())\nprint(100 if n == 0 else 101 if n == 1 else n + 100)"
    assert not _named(base_cases, 12, inputs, expected)
    assert _named(base_cases, 2, inputs, expected)


def test_answers_of_yes_and_no_are_not_tests_by_heart() -> None:
    code = "n = int(input())\nprint('YES' if n % 2 else 'NO')"
    assert not _named(code, 4, ("5", "6", "9", "12"), ("YES", "NO", "YES", "NO"))


def test_a_number_too_long_to_be_written_out_ends_nothing() -> None:
    assert _named(f"x = 0x{'f' * 5000}\n{HARD_CODED}", passed=2)
