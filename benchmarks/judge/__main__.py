"""Every demand on the judge, measured with its peers in one run.

    python -m benchmarks.judge --livecodebench CHECKOUT --output benchmarks/results/judge.json
    python -m benchmarks.judge --markdown

CHECKOUT is a folder with https://github.com/LiveCodeBench/LiveCodeBench; without it the rows that compare with it
stay empty. The second command writes the tables of benchmarks/results/judge.json into docs/judge.md. Use an idle
machine: harnesses are measured in turns, which makes ratios of CPU time stand other load, but not those of wall time.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks.judge import table
from benchmarks.judge.rows import FULL, QUICK, Plan, measure_all
from reward.config import JudgeSettings
from reward.judge import Judge
from xcoder_core.errors import InputError
from xcoder_core.files import write_json, write_text

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "judge.md"
RESULTS = ROOT / "benchmarks" / "results" / "judge.json"


def main() -> None:
    """Measure, show and write; or only write the guide's tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--livecodebench", type=Path, metavar="CHECKOUT", help="where LiveCodeBench's code is")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures to this JSON file")
    parser.add_argument("--rounds", type=int, default=FULL.rounds, help="fewer than 5 save time (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean little")
    parser.add_argument("--markdown", action="store_true", help="measure nothing, write the tables into the guide")
    chosen = parser.parse_args()
    try:
        if chosen.markdown:
            write_guide()
        else:
            plan = QUICK if chosen.quick else FULL.with_rounds(chosen.rounds)
            measure(plan, chosen.livecodebench, chosen.output)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error


def measure(plan: Plan, checkout: Path | None, output: Path | None) -> None:
    """Raises `InputError` where `checkout` is none of LiveCodeBench."""
    if checkout is not None and not (checkout / "lcb_runner" / "evaluation" / "testing_util.py").is_file():
        raise InputError(
            f"--livecodebench: {checkout} has no lcb_runner/evaluation/testing_util.py; expected a checkout of "
            "https://github.com/LiveCodeBench/LiveCodeBench"
        )
    with Judge(JudgeSettings(), workers=1) as judge:
        tier = judge.tier
    described, started = table.machine(tier, checkout), time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s  {what}", file=sys.stderr, flush=True)

    path = None if checkout is None else str(checkout.resolve())
    results = measure_all(plan, path, tier, say)
    written = table.to_json(results, described, time.monotonic() - started)
    table.show(written)
    if output is not None:
        write_json(output, written)


def write_guide() -> None:
    """The tables of the JSON file into the guide."""
    written = json.loads(RESULTS.read_text(encoding="utf-8"))
    write_text(GUIDE, table.put_into(GUIDE.read_text(encoding="utf-8"), table.to_markdown(written)))


if __name__ == "__main__":
    main()
