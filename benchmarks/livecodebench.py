"""A whole LiveCodeBench run judged by the official checker and by this project, on one machine in one run.

    python -m benchmarks.livecodebench --checkout CHECKOUT                      # minutes on 2 cores: a small run
    python -m benchmarks.livecodebench --checkout CHECKOUT --full               # 279 x 8 x 40, 6 s a test: hours
    python -m benchmarks.livecodebench --checkout CHECKOUT --output benchmarks/results/livecodebench.json

CHECKOUT is a folder with https://github.com/LiveCodeBench/LiveCodeBench; without it only this project is measured.
The problems are the realistic programs of `benchmarks/programs` on inputs made for the purpose (1 to 200 ms of CPU
time in bare python), written in the official format; the submission has right and wrong programs, and a share that
hangs in four ways. Each harness runs in a process of its own with as many workers as there are cores. Ours is measured
from opening the file to the scores on disk; the official one (`codegen_metrics`) from its parsed tests to its metrics.

`overhead` is CPU time beyond that of the programs themselves, each counted as its harness runs it (a module here, the
body of a function there), on the part of the run that does not hang; imports are not counted. Wall time is of the
whole run; other work on the machine makes ratios of wall time uncertain, which is why the load is written beside them.
It may also make the official checker, whose limit is wall time, refuse right programs: those are counted apart.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.judge.inputs import GENERATORS, PROGRAMS, SHARES_OF_FULL_SIZE
from benchmarks.judge.process import usage
from benchmarks.judge.workloads import Program, plain_output
from xcoder_core.files import write_json

ROOT = Path(__file__).parents[1]
WRONG = "import sys\nsys.stdin.read()\nprint('wrong')\n"
READ_ALL = "import sys\n\nsys.stdin.read()\n"
HANGING = {
    "slow": READ_ALL + "n = 0\nwhile True:\n    n += 1\n",
    "slow in C": READ_ALL + "print(sum(range(10**15)))\n",
    "swallows errors": READ_ALL
    + "n = 0\nwhile True:\n    try:\n        while True:\n            n += 1\n    except:\n        continue\n",
    "deadlock": READ_ALL + "import threading\n\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a run is. `hanging` and `wrong` are shares of the samples; `seconds` is the limit of a test."""

    problems: int = 20
    samples: int = 5
    tests: int = 8
    hanging: float = 0.1
    wrong: float = 0.3
    seconds: int = 2


FULL = Scale(problems=279, samples=8, tests=40, seconds=6)


def main() -> None:
    """Measure, show and write; or, with --harness, be one of the processes that are measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.livecodebench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkout", type=Path, help="where LiveCodeBench's code is")
    parser.add_argument("--full", action="store_true", help="279 problems x 8 samples x 40 tests, 6 s a test")
    for name, default in asdict(Scale()).items():
        parser.add_argument(f"--{name}", type=type(default), help=f"(default: {default})")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures to this JSON file")
    parser.add_argument("--harness", choices=HARNESSES, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    base = FULL if chosen.full else Scale()
    given = {name: getattr(chosen, name) for name in asdict(base) if getattr(chosen, name) is not None}
    scale = Scale(**{**asdict(base), **given})
    if chosen.harness is not None:
        print(json.dumps(HARNESSES[chosen.harness](chosen.work, chosen.checkout, scale)))
        return
    if chosen.checkout is not None and not (chosen.checkout / "lcb_runner" / "evaluation").is_dir():
        parser.error(
            f"--checkout: {chosen.checkout} has no lcb_runner/evaluation; expected a checkout of LiveCodeBench"
        )
    figures = measure(scale, chosen.checkout)
    show(figures)
    if chosen.output is not None:
        write_json(chosen.output, figures)


def measure(scale: Scale, checkout: Path | None) -> dict[str, Any]:
    """Every harness on the whole run, and on the part of it that does not hang."""
    with TemporaryDirectory(prefix="livecodebench-") as folder:
        work = Path(folder)
        written = write_run(work, scale)
        names = ["faithful", "livecodebench", "bodies"]
        if checkout is not None:
            names += ["official", "official bodies"]
        found: dict[str, dict[str, Any]] = {}
        for part in ("whole", "ends") if scale.hanging else ("ends",):
            for name in names:
                if part == "ends" or "bodies" not in name:
                    print(f"{part}: {name}", file=sys.stderr, flush=True)
                    found.setdefault(name, {})[part] = _ask(name, work / part, checkout, scale)
    return {"scale": asdict(scale), **written, **compare(found, scale), "machine": _machine(checkout)}


def compare(found: dict[str, dict[str, Any]], scale: Scale) -> dict[str, Any]:
    """Overheads, wall times and ratios; how far the verdicts agree."""
    rows: dict[str, Any] = {}
    for name in ("faithful", "livecodebench", "official"):
        if name not in found:
            continue
        bodies = found["official bodies" if name == "official" else "bodies"]["ends"]
        ends, whole = found[name]["ends"], found[name].get("whole")
        rows[name] = {
            "wall_seconds": None if whole is None else whole["wall"],
            "wall_seconds_without_hanging": ends["wall"],
            "cpu_seconds_without_hanging": ends["cpu"],
            "overhead_ms_per_sample": 1000 * (ends["cpu"] - bodies["tests_cpu"]) / ends["samples"],
        }
    result: dict[str, Any] = {"harnesses": rows, "programs_cpu_seconds": found["bodies"]["ends"]["tests_cpu"]}
    if "official" in rows:
        part = "whole" if "whole" in found["official"] else "ends"
        result["ratios"] = {
            name: {
                "official_overhead_over_ours": _ratio(rows, name, "overhead_ms_per_sample"),
                "official_wall_over_ours": _ratio(rows, name, "wall_seconds"),
                "official_wall_over_ours_without_hanging": _ratio(rows, name, "wall_seconds_without_hanging"),
            }
            for name in ("faithful", "livecodebench")
        }
        theirs, reasons = found["official"][part]["graded"], found["official"][part]["reasons"]
        result["samples_graded_otherwise"] = {}
        for name in ("faithful", "livecodebench"):
            ours = found[name][part]["graded"]
            result["samples_graded_otherwise"][name] = {
                "refused by the official checker alone, by its reason": _only(ours, theirs, reasons),
                "refused here alone": sum(_only(theirs, ours, reasons).values()),
            }
    return result


def _only(accepted: list[bool], refused: list[bool], reasons: list[str]) -> dict[str, int]:
    """How many samples one harness accepts and the other refuses, by the official checker's reason."""
    compared = zip(accepted, refused, reasons, strict=True)
    return dict(Counter(reason for one, other, reason in compared if one and not other))


def write_run(work: Path, scale: Scale) -> dict[str, Any]:
    """The problems and the submission in the official formats, in `work/whole` and, without what hangs, `work/ends`."""
    names = list(GENERATORS)
    chance = random.Random(0)
    rows: list[dict[str, Any]] = []
    submission: list[list[tuple[str, str]]] = []
    kinds = _kinds(scale, chance)
    for number in range(scale.problems):
        name = names[number % len(names)]
        code = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
        inputs = _inputs(name, number, scale.tests)
        tests = [{"input": given, "output": plain_output(code, given), "testtype": "stdin"} for given in inputs]
        rows.append(_row(number, name, tests))
        programs = {"right": code, "wrong": WRONG, **HANGING}
        # A comment makes every program another one, or equal ones would be judged only once by this project.
        submission.append([(kind, f"{programs[kind]}\n# {number}.{i}\n") for i, kind in enumerate(kinds[number])])
    for part in ("whole", "ends"):
        folder = work / part
        folder.mkdir()
        with open(folder / "rows.jsonl", "w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(row) + "\n")
        kept = [
            {
                "question_id": row["question_id"],
                # A hanging program's place is taken by a right one, so that all problems have the same number.
                "code_list": [
                    code if part == "whole" or kind not in HANGING else _right(row, kind, code) for kind, code in listed
                ],
            }
            for row, listed in zip(rows, submission, strict=True)
        ]
        (folder / "submission.json").write_text(json.dumps(kept), encoding="utf-8")
    told = [kind for listed in submission for kind, _ in listed]
    return {"samples": {kind: told.count(kind) for kind in dict.fromkeys(told)}, "tests_per_problem": scale.tests}


def _kinds(scale: Scale, chance: random.Random) -> list[list[str]]:
    """Which kind of program each sample is: exact shares, dealt out at random."""
    total = scale.problems * scale.samples
    hanging, wrong = round(scale.hanging * total), round(scale.wrong * total)
    ways = list(HANGING)
    dealt = [ways[index % len(ways)] for index in range(hanging)] + ["wrong"] * wrong
    dealt += ["right"] * (total - len(dealt))
    chance.shuffle(dealt)
    return [dealt[first : first + scale.samples] for first in range(0, total, scale.samples)]


def _inputs(name: str, number: int, tests: int) -> list[str]:
    make, full_size = GENERATORS[name]
    drawn = random.Random(f"{name} {number}")
    shares = [SHARES_OF_FULL_SIZE[index % len(SHARES_OF_FULL_SIZE)] for index in range(tests)]
    return [make(drawn, max(4, round(full_size * share))) for share in shares]


def _right(row: dict[str, Any], kind: str, code: str) -> str:
    mark = code.rpartition("# ")[2]
    return (PROGRAMS / f"{row['question_title']}.py").read_text(encoding="utf-8") + f"\n# {mark}"


def _row(number: int, name: str, tests: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "question_title": name,
        "question_content": f"Problem {number}: {name}.",
        "platform": "atcoder",
        "question_id": f"p{number:04d}",
        "contest_id": "benchmark",
        "contest_date": "2025-01-01T00:00:00",
        "starter_code": "",
        "difficulty": ("easy", "medium", "hard")[number % 3],
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": json.dumps(tests[1:]),
        "metadata": "{}",
    }


def _ours(policy: str) -> Callable[[Path, Path | None, Scale], dict[str, Any]]:
    def run(work: Path, checkout: Path | None, scale: Scale) -> dict[str, Any]:
        import pyarrow.parquet

        pyarrow.array([0])  # imports pandas where there is one, which the first table would do while the clock runs

        from evaluation import livecodebench
        from evaluation.config import EvaluationSettings
        from evaluation.evaluate import rejudge
        from evaluation.measurement import Measurement
        from reward.config import JudgeSettings
        from xcoder_core.problem import Limits

        livecodebench.LIMITS = Limits(float(scale.seconds), livecodebench.LIMITS.memory_mib)
        settings = EvaluationSettings(samples=scale.samples, k=(1,), bootstrap=1000, maximum_invalid_share=0.0)
        judge = JudgeSettings(workers=os.cpu_count(), policy=policy)  # type: ignore[arg-type]

        def judged() -> list[bool]:
            benchmark = livecodebench.load_livecodebench(work / "rows.jsonl")
            measurement = Measurement(policy, work / f"result-{policy}", [benchmark], settings, judge, 0, "plain")
            result = rejudge(work / "submission.json", measurement)
            order = {question["question_id"]: name for name, question in benchmark.questions.items()}
            right = {(row.problem_id, row.sample_index): row.failure == "none" for row in result.verdicts()}
            return [right[order[name], index] for name in sorted(order) for index in range(scale.samples)]

        return _clocked(judged)

    return run


def _official(work: Path, checkout: Path | None, scale: Scale) -> dict[str, Any]:
    from benchmarks.judge.peers import is_pass, load_livecodebench

    module = load_livecodebench(str(checkout))
    samples, programs = [], []
    for row, codes in _read(work):
        tests = json.loads(row["public_test_cases"]) + json.loads(row["private_test_cases"])
        parts = {"inputs": [t["input"] for t in tests], "outputs": [t["output"] for t in tests], "fn_name": None}
        samples.append({"input_output": json.dumps(parts)})
        programs.append(codes)

    reasons: list[str] = []

    def judged() -> list[bool]:
        _, results, metadata = module.codegen_metrics(
            samples, programs, num_process_evaluate=os.cpu_count(), timeout=scale.seconds
        )
        reasons.extend(json.loads(said).get("error_message", "") for listed in metadata for said in listed)
        return [is_pass(result) for index in range(len(samples)) for result in results[index]]

    return {**_clocked(judged), "reasons": reasons}


def _bodies(work: Path, checkout: Path | None, scale: Scale) -> dict[str, Any]:
    """CPU time of the right programs alone; a wrong one ends at its first test and costs next to nothing."""
    from benchmarks.judge.peers import bodies

    programs = []
    for row, codes in _read(work):
        tests = json.loads(row["public_test_cases"]) + json.loads(row["private_test_cases"])
        inputs, expected = tuple(t["input"] for t in tests), tuple(t["output"] for t in tests)
        right = [code for code in codes if not code.startswith(WRONG)]
        programs += [Program(row["question_title"], code, inputs, expected) for code in right[:1]] * len(right)
    with bodies(None if checkout is None else str(checkout)) as prepare:
        return {"tests_cpu": prepare(programs)().tests_cpu}


HARNESSES: dict[str, Callable[[Path, Path | None, Scale], dict[str, Any]]] = {
    "faithful": _ours("faithful"),
    "livecodebench": _ours("livecodebench"),
    "official": _official,
    "bodies": lambda work, _, scale: _bodies(work, None, scale),
    "official bodies": _bodies,
}


def _read(work: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    codes = {row["question_id"]: row["code_list"] for row in json.loads((work / "submission.json").read_text())}
    with open(work / "rows.jsonl", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row, codes[row["question_id"]]


def _clocked(judged: Callable[[], list[bool]]) -> dict[str, Any]:
    cpu, started = usage()[0], time.perf_counter()
    graded = judged()
    return {
        "wall": time.perf_counter() - started,
        "cpu": usage()[0] - cpu,
        "samples": len(graded),
        "graded": graded,
    }


def _ask(harness: str, work: Path, checkout: Path | None, scale: Scale) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.livecodebench", "--harness", harness, "--work", str(work)]
    command += [text for name, value in asdict(scale).items() for text in (f"--{name}", str(value))]
    command += [] if checkout is None else ["--checkout", str(checkout.resolve())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"the harness {harness!r} failed:\n{ended.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def _ratio(rows: dict[str, Any], name: str, figure: str) -> float | None:
    theirs, ours = rows["official"][figure], rows[name][figure]
    return None if theirs is None or ours is None else theirs / ours


def _machine(checkout: Path | None) -> dict[str, Any]:
    from benchmarks.judge import table
    from reward.config import JudgeSettings
    from reward.judge import Judge

    with Judge(JudgeSettings(), workers=1) as judge:
        return table.machine(judge.tier, checkout)


def show(figures: dict[str, Any]) -> None:
    """The figures on standard output."""
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
