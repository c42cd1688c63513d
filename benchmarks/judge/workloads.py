"""The programs that are judged: tiny ones, realistic ones, a mix in which one in ten hangs, and functions.

Every expected output of a realistic program is what plain python printed on the input, once, before any measuring.
"""

import subprocess
import sys
from dataclasses import dataclass, replace

from benchmarks.judge.inputs import GENERATORS, PROGRAMS, inputs_of

TINY_TESTS = 10
HANGING_TESTS = 5


@dataclass(frozen=True, slots=True)
class Program:
    """A program with its tests. `seconds` is the time limit of a test, `verdict` what is right for each test."""

    id: str
    code: str
    inputs: tuple[str, ...]
    expected: tuple[str, ...]
    function_name: str | None = None
    seconds: float = 6.0
    verdict: str = "AC"


TINY = "a, b = map(int, input().split())\nprint(a + b)\n"
FUNCTION = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b\n"

SLOW = """
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


print(ways(200 + int(input())))
"""
SLOW_IN_C = """
n = int(input())
print(sum(range(10**15 + n)))
"""
SWALLOWS_ERRORS = """
values = []
while True:
    try:
        values.append(int(input()))
    except:
        continue
print(sum(values))
"""
DEADLOCK = """
import threading

lock = threading.Lock()
total = 0


def add(value):
    with lock:
        return value + 1


with lock:
    total = add(int(input()))
print(total)
"""
WAYS_TO_HANG = {
    "slow": SLOW,
    "slow in C": SLOW_IN_C,
    "swallows errors": SWALLOWS_ERRORS,
    "deadlock": DEADLOCK,
}
"""A hopeless algorithm in Python; one that stays in a function written in C, where Python handles no signal; a loop
that catches whatever is raised in it; a wait for something that never comes."""


def tiny_program() -> Program:
    """Ten tests of a program that adds two numbers."""
    inputs = tuple(f"{number} {number + 1}\n" for number in range(TINY_TESTS))
    return Program("tiny", TINY, inputs, tuple(f"{2 * number + 1}\n" for number in range(TINY_TESTS)))


def function_program() -> Program:
    """The same as a function problem."""
    inputs = tuple(f"{number}\n{number + 1}" for number in range(TINY_TESTS))
    expected = tuple(str(2 * number + 1) for number in range(TINY_TESTS))
    return Program("function", FUNCTION, inputs, expected, function_name="add")


def realistic_programs(every: int = 1) -> list[Program]:
    """The programs of `benchmarks/programs`, or one in `every` of them."""
    programs = []
    for name in list(GENERATORS)[::every]:
        code, inputs = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8"), inputs_of(name)
        expected = tuple(plain_output(code, given) for given in inputs)
        programs.append(Program(name, code, tuple(inputs), expected))
    return programs


def plain_output(code: str, given: str) -> str:
    """What `python -I -S` prints on an input. Raises `CalledProcessError` where it does not end well."""
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, input=given.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()


def hanging_mix(realistic: list[Program], ways: list[str], seconds: float) -> list[Program]:
    """The realistic programs with a hanging one after every nine, in these ways in turn, all under one time limit.

    Fewer than nine get one as well.
    """
    mix: list[Program] = []
    for number, program in enumerate(realistic, start=1):
        mix.append(replace(program, seconds=seconds))
        if number % 9 == 0 or number == len(realistic) < 9:
            mix.append(hanging_program(ways[(number - 1) // 9 % len(ways)], seconds))
    return mix


def hanging_program(way: str, seconds: float) -> Program:
    inputs = tuple(f"{number}\n" for number in range(HANGING_TESTS))
    return Program(way, WAYS_TO_HANG[way], inputs, ("",) * HANGING_TESTS, seconds=seconds, verdict="TLE")


def printing_programs(cap_bytes: int) -> dict[str, Program]:
    """Programs whose one test prints just less than the cap, in ways that differ in what they cost to compare."""
    short = cap_bytes // 3 - 1
    ascii_but_one = cap_bytes - 16
    return {
        "right, short lines": _printing(f"'12\\n' * {short}", "12\n" * short),
        "right, one character of four bytes": _printing(
            f"'x' * {ascii_but_one} + chr(128512) + '\\n'", "x" * ascii_but_one + "\U0001f600\n"
        ),
        "wrong, nothing alike": _printing(f"'12\\n' * {short}", "12\n", "WA"),
        "wrong, the last line only": _printing(f"'12\\n' * {short} + '3'", "12\n" * short + "4", "WA"),
    }


def _printing(expression: str, expected: str, verdict: str = "AC") -> Program:
    code = f"import sys\nsys.stdout.write({expression})\n"
    return Program("prints", code, ("",), (expected,), verdict=verdict)
