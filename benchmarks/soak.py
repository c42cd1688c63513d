"""A long run with hostile programs and random kills: nothing may leak, and every verdict must be right.

    python -m benchmarks.soak --executions 200000 [--workers 2] [--seconds-between-kills 1] [--seed 0] [--output FILE]

Right, wrong, crashing, looping and uncompilable programs in Python and C++ (where g++ is installed), one in twenty an
attack of tests/reward/attacks, are judged while a random process below the judge is killed from outside at random
instants. Each program's verdict and number of passed tests are known beforehand. IE is allowed only where the judge
reports two failures on that submission, and there may be no more failures than kills. Between rounds, when nothing
runs, processes, descriptors, memory and temporary files are counted. Writes benchmarks/results/soak.json.
"""

import argparse
import gc
import logging
import os
import platform
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reward.compiler import CACHED
from reward.config import JudgeSettings
from reward.judge import Judge
from reward.submission import Submission
from reward.verdict import Judgement, Verdict
from xcoder_core.files import write_json
from xcoder_core.problem import Limits

RESULTS = Path(__file__).parent / "results"
ATTACKS = sorted((Path(__file__).parents[1] / "tests" / "reward" / "attacks").glob("*.py"))
FOLDERS_OF_ATTACKS = ("/tmp", "/var/tmp", "/dev/shm", "/", ".")
HOSTILE_SHARE = 0.05
LIMITS = Limits(seconds=0.25, memory_mib=256)
OUTPUT_MIB = 4
ROUNDS = 100
NEW_CPP_SHARE = 0.1
"""Of the C++ programs, those that are compiled: compiling costs as much as a thousand executions."""
ALSO_ALLOWED = {"17_deep_recursion_segv": ["MLE"]}
"""It fills its memory limit, near which the judge takes a kill from outside for the limit's."""
RSS_GROWTH_MIB = 16
"""What the supervisor may gain in resident memory after the first quarter of the run."""


@dataclass(frozen=True)
class Case:
    """A submission, the verdicts that are right for it, and how many of its tests pass (None for attacks)."""

    submission: Submission
    verdicts: frozenset[str]
    passed: int | None


def cases(seed: int) -> Iterator[Case]:
    """Cases without end, none like another."""
    source = random.Random(seed)
    kinds = dict(KINDS) if shutil.which("g++") else {kind: weight for kind, weight in KINDS.items() if kind != "cpp"}
    for number in range(sys.maxsize):
        if source.random() < HOSTILE_SHARE:
            yield attack(f"{number}-attack", source.choice(ATTACKS))
        else:
            [kind] = source.choices(list(kinds), list(kinds.values()))
            yield honest(f"{number}-{kind}", kind, source)


KINDS = {
    "right": 30,
    "wrong": 12,
    "crash": 8,
    "function": 8,
    "shared": 6,
    "cpp": 4,
    "ce": 3,
    "mle": 1,
    "ole": 1,
    "tle": 1,
}
"""Weights of the honest ones."""


def honest(name: str, kind: str, source: random.Random) -> Case:
    """A program of a kind; its numbers are its own, so that a verdict that belongs to another one is seen."""
    factor, tests = source.randrange(2, 10**9), source.randrange(10, 31)
    numbers = [source.randrange(10**6) for _ in range(tests)]
    expected = tuple(str(number * factor) for number in numbers)
    odd = sum(number % 2 for number in numbers)
    answer = {
        "right": f"print(n * {factor})",
        "wrong": f"print(n * {factor} if n % 2 else -1)",
        "crash": f"print(n * {factor} if n % 2 else n // 0)",
        "mle": "print(len([0] * 10**9))",
        "ole": f"print('x' * {2 * OUTPUT_MIB << 20})",
        "tle": "while True: pass",
        "ce": f"print(n * {factor}",
    }
    verdict, passed = {
        "wrong": ("WA", odd),
        "crash": ("RE", odd),
        "mle": ("MLE", 0),
        "ole": ("OLE", 0),
        "tle": ("TLE", 0),
        "ce": ("CE", 0),
    }.get(kind, ("AC", tests))
    if verdict in ("WA", "RE") and odd == tests:
        verdict = "AC"
    if kind in ("mle", "ole", "tle"):  # each of these tests takes its time
        numbers, expected = numbers[:1], expected[:1]
    inputs, function_name, language, limits = tuple(f"{number}\n" for number in numbers), None, "python", LIMITS
    if kind == "cpp":
        factor = source.randrange(2, 10**6) if source.random() < NEW_CPP_SHARE else 7
        expected = tuple(str(number * factor) for number in numbers)
        code = f'#include <cstdio>\nint main() {{ long long n; scanf("%lld", &n); printf("%lld", n * {factor}); }}'
        language = "cpp"
    elif kind in ("function", "shared"):
        code, function_name = f"class Solution:\n    def f(self, n):\n        return n * {factor}\n", "f"
    else:
        code = f"n = int(input())\n{answer[kind]}\n"
    submission = Submission(
        name, code, inputs, expected, function_name, limits, language, share_process=kind == "shared"
    )
    return Case(submission, frozenset([verdict]), passed)


def attack(name: str, path: Path) -> Case:
    """An attack with the verdicts that its header allows; TLE too, as it gets less time here than its header asks."""
    code = path.read_text(encoding="utf-8")
    is_function = "# MODE: func" in code
    allowed = re.search(r"# EXPECT: (\S+)", code)
    assert allowed is not None, path
    submission = Submission(
        f"{name}-{path.stem}",
        code,
        ("3\n4",) if is_function else ("3 4\n",),
        ("7",) if is_function else ("7\nnever printed by an attack\n",),
        function_name="add" if is_function else None,
        limits=LIMITS,
    )
    return Case(submission, frozenset(allowed[1].split("|")) | {"TLE", *ALSO_ALLOWED.get(path.stem, ())}, None)


class Killer(threading.Thread):
    """Kills a random process below this one at random instants while it is `active`; first the kind, then which one."""

    def __init__(self, mean_seconds: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.active = threading.Event()
        self.ended = threading.Event()
        self.kills: Counter[str] = Counter()
        self._mean_seconds = mean_seconds
        self._random = random.Random(seed)

    def run(self) -> None:
        while not self.ended.wait(self._random.expovariate(1 / self._mean_seconds)):
            self.active.wait()
            by_kind: dict[str, list[int]] = {}
            for pid, kind in processes_below(os.getpid()):
                by_kind.setdefault(kind, []).append(pid)
            if by_kind:
                kind = self._random.choice(sorted(by_kind))
                self.kills[kind] += kill(self._random.choice(by_kind[kind]))


def kill(pid: int) -> bool:
    """True where `pid` was still a process below this one. Its number cannot pass to another one in between."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if pid not in dict(processes_below(os.getpid())):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def processes_below(pid: int, kind: str = "") -> list[tuple[int, str]]:
    """(process, kind) of all descendants. The kind is its depth, or what it runs where that is no Python."""
    found = []
    for child in children(pid):
        try:
            command = Path(f"/proc/{child}/comm").read_text().strip()
        except OSError:
            continue
        below = f"{kind}/python" if command.startswith("python") else command
        found += [(child, below.lstrip("/")), *processes_below(child, below)]
    return found


def children(pid: int) -> list[int]:
    """Process ids."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


class Failures(logging.Handler):
    """Counts what the judge reports: failed workers by submission."""

    def __init__(self) -> None:
        super().__init__()
        self.by_submission: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("a sandbox worker failed on submission") and isinstance(record.args, tuple):
            self.by_submission[str(record.args[0])] += 1


def sample() -> dict[str, float]:
    """What could leak, while nothing runs. Executables are kept on purpose and counted apart."""
    gc.collect()
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:  # the descriptor of this very listing
            continue
    executables = sum(target.startswith("/memfd:program") for target in targets)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return {
        "processes": len(processes_below(os.getpid())),
        "descriptors": len(targets) - executables,
        "executables": executables,
        "threads": threading.active_count(),
        "rss_mib": round(resident / 2**20, 1),
        "temporary_files": len(os.listdir(tempfile.gettempdir())),
        "shared_memory_files": len(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else 0,
    }


def soak(executions: int, *, workers: int, seconds_between_kills: float, seed: int) -> dict[str, Any]:
    """Judge until `executions` tests have run. What is wrong stands in `problems`, which is empty where nothing is."""
    own_folder = tempfile.mkdtemp(prefix="soak-")
    usual_folder, tempfile.tempdir = tempfile.tempdir, own_folder
    logger, failures = logging.getLogger("reward.judge"), Failures()
    logger.addHandler(failures)
    propagate, logger.propagate = logger.propagate, False
    try:
        return _soak(executions, workers, seconds_between_kills, seed, failures)
    finally:
        logger.propagate = propagate
        logger.removeHandler(failures)
        tempfile.tempdir = usual_folder
        shutil.rmtree(own_folder)


def _soak(executions: int, workers: int, between_kills: float, seed: int, failures: Failures) -> dict[str, Any]:
    problems: list[str] = []
    verdicts: Counter[str] = Counter()
    done = programs = hostile = 0
    upcoming = cases(seed)
    started, cpu_before = time.monotonic(), cpu_seconds()
    before = sample()
    samples: list[dict[str, float]] = []
    killer = Killer(between_kills, seed)
    with Judge(JudgeSettings(output_mib=OUTPUT_MIB), workers=workers) as judge:
        killer.start()
        while done < executions:
            batch: list[Case] = []
            tests = 0
            while tests < executions / ROUNDS:
                batch.append(next(upcoming))
                tests += len(batch[-1].submission.inputs)
            killer.active.set()
            judgements = list(judge.judge((case.submission for case in batch), stop_at_first_failure=False))
            killer.active.clear()
            if len(judgements) != len(batch):
                problems.append(f"{len(batch)} submissions, {len(judgements)} judgements")
            for case, judgement in zip(batch, judgements, strict=False):
                problems += check(case, judgement, failures)
                verdicts[judgement.verdict.value] += 1
                done += len(judgement.tests)
                hostile += case.passed is None
            programs += len(batch)
            samples.append({"executions": done, **sample()})
            print(f"{done:,} of {executions:,} executions, {killer.kills.total()} kills, {samples[-1]}", flush=True)
        tier = judge.tier
    killer.ended.set()
    killer.active.set()
    killer.join()
    after = sample()
    if failures.by_submission.total() > killer.kills.total():
        problems.append(f"{failures.by_submission.total()} failures of workers, but {killer.kills.total()} kills")
    problems += leaks(before, samples, after, workers)
    return {
        "command": f"python -m benchmarks.soak --executions {executions} --workers {workers}"
        f" --seconds-between-kills {between_kills:g} --seed {seed}",
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()},
        "tier": tier,
        "executions": done,
        "programs": programs,
        "hostile_programs": hostile,
        "verdicts": dict(verdicts.most_common()),
        "kills": dict(killer.kills.most_common()),
        "failures_of_workers": failures.by_submission.total(),
        "hit_twice_and_so_ie": sum(count >= 2 for count in failures.by_submission.values()),
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(cpu_seconds() - cpu_before, 1),
        "before": before,
        "quarter": samples[len(samples) // 4],
        "last": samples[-1],
        "largest": {name: max(each[name] for each in samples) for name in samples[0]},
        "after_closing": after,
        "problems": problems,
    }


def check(case: Case, judgement: Judgement, failures: Failures) -> list[str]:
    """What is wrong with a judgement."""
    name = case.submission.id
    if judgement.id != name:
        return [f"the judgement of {judgement.id} stands where that of {name} should"]
    if judgement.verdict is Verdict.IE:
        hits = failures.by_submission[name]
        return [] if hits == 2 else [f"{name} is IE after {hits} failures: {judgement.message}"]
    if judgement.verdict.value not in case.verdicts:
        return [f"{name} is {judgement.verdict}, expected {'|'.join(sorted(case.verdicts))}: {judgement.message}"]
    if case.passed is not None and judgement.passed != case.passed:
        return [f"{name} passed {judgement.passed} tests, expected {case.passed}"]
    return []


def leaks(
    before: dict[str, float], samples: list[dict[str, float]], after: dict[str, float], workers: int
) -> list[str]:
    """What is left over between rounds and at the end."""
    problems = []
    for each in samples:
        for name, most in {
            "processes": 4 * workers,  # zygotes of two kinds, and the processes that wait for their namespaces
            "descriptors": before["descriptors"] + 4 * workers,  # a zygote's control socket and its standard error
            "threads": before["threads"] + workers + 1,  # and the one that kills
            "temporary_files": before["temporary_files"],
            "executables": CACHED,
        }.items():
            if each[name] > most:
                problems.append(f"after {each['executions']} executions there are {each[name]} {name}, expected {most}")
    for name in ("processes", "descriptors", "threads", "temporary_files"):
        if after[name] != before[name]:
            problems.append(f"{before[name]} {name} before, {after[name]} when all was closed")
    growth = samples[-1]["rss_mib"] - samples[len(samples) // 4]["rss_mib"]
    if growth > RSS_GROWTH_MIB:
        problems.append(f"the supervisor grew by {growth:.1f} MiB after the first quarter")
    if left := [str(path) for folder in FOLDERS_OF_ATTACKS for path in Path(folder).glob("pwned*")]:
        problems.append(f"attacks left {', '.join(left)}")
    return problems


def cpu_seconds() -> float:
    """CPU time of this process and of all children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=200_000, help="tests to run")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds-between-kills", type=float, default=1.0, help="on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "soak.json")
    chosen = parser.parse_args()
    report = soak(
        chosen.executions,
        workers=chosen.workers,
        seconds_between_kills=chosen.seconds_between_kills,
        seed=chosen.seed,
    )
    write_json(chosen.output, report)
    print(chosen.output.read_text(encoding="utf-8"))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
