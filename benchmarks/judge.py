"""What a verdict costs: the judge against a bare `python -I -S -c` per test, in CPU time, both in one run.

    python -m benchmarks.judge [--programs 200] [--rounds 3] [--output FILE]

CPU time counts everything: supervisor, zygote, template and children, without the one-time start of the worker. The
two are measured in turns and the best round of each is kept, since other load on the machine only ever adds.
Compare ratios, not milliseconds. Nothing is written unless --output names a file.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Verdict
from xcoder_train.core.files import write_json

TESTS = 10
PROGRAM = "a, b = map(int, input().split())\nprint(a + b)\n"
FUNCTION = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b\n"
BARE_PROGRAMS = 5


def cpu_seconds() -> float:
    """CPU time of this process and of all children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def stdin_submission() -> Submission:
    """Ten tiny tests of a tiny program."""
    inputs = tuple(f"{number} {number + 1}\n" for number in range(TESTS))
    return Submission("stdin", PROGRAM, inputs, tuple(f"{2 * number + 1}\n" for number in range(TESTS)))


def function_submission(share_process: bool) -> Submission:
    """The same as a function problem."""
    inputs = tuple(f"{number}\n{number + 1}" for number in range(TESTS))
    expected = tuple(str(2 * number + 1) for number in range(TESTS))
    return Submission("function", FUNCTION, inputs, expected, function_name="add", share_process=share_process)


def judge_cost(submission: Submission, programs: int, tier: str) -> float:
    """CPU seconds per program: `programs` judgements less one, the start of the worker falling out."""

    def total(count: int) -> float:
        before = cpu_seconds()
        with Judge(JudgeSettings(tier=tier), workers=1) as judge:  # type: ignore[arg-type]
            for judgement in judge.judge([submission] * count, stop_at_first_failure=False):
                if judgement.verdict is not Verdict.AC:
                    raise SystemExit(f"unexpected verdict: {judgement}")
        return cpu_seconds() - before

    return (total(programs + 1) - total(1)) / programs


def bare_cost() -> float:
    """CPU seconds per program of one `python -I -S -c` per test, comparison left out."""
    submission = stdin_submission()
    before = cpu_seconds()
    for _ in range(BARE_PROGRAMS):
        for given in submission.inputs:
            command = [sys.executable, "-I", "-S", "-c", PROGRAM]
            subprocess.run(command, input=given.encode(), stdout=subprocess.PIPE, check=True)
    return (cpu_seconds() - before) / BARE_PROGRAMS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200, help="programs per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    with Judge(JudgeSettings(), workers=1) as judge:
        tier = judge.tier
    measured = {
        "bare python per test": bare_cost,
        "judge, process per test": lambda: judge_cost(stdin_submission(), arguments.programs, tier),
        "judge, function, process per test": lambda: judge_cost(function_submission(False), arguments.programs, tier),
        "judge, function, one process": lambda: judge_cost(function_submission(True), arguments.programs, tier),
    }
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(arguments.rounds):
        for name, measure in measured.items():
            best[name] = min(best[name], measure())
    bare = best["bare python per test"]
    print(f"tier {tier}, {TESTS} tests per program, best of {arguments.rounds} rounds")
    for name, seconds in best.items():
        print(f"{name:36s} {seconds * 1000:8.2f} CPU ms per program {bare / seconds:6.1f} x bare python")
    if arguments.output is not None:
        figures = {name: {"cpu_ms": seconds * 1000, "ratio": bare / seconds} for name, seconds in best.items()}
        write_json(arguments.output, {"tier": tier, "tests": TESTS, "figures": figures})


if __name__ == "__main__":
    main()
