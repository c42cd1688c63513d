"""The quickstart on a quiet machine, and beside a process that never rests.

    python -m benchmarks.busy

Two cores; the other process spins on one of them. The quickstart runs whole in a folder of its own, quiet, then busy.
Wanted: no stage takes more than 2.5 times its quiet time. Writes benchmarks/results/busy.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.quickstart import evaluation_seconds
from evaluation.results import load_results
from xcoder_core.files import write_json

RESULTS = Path(__file__).parent / "results"
WANTED = 2.5


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/laptop/quickstart.yaml"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        quiet = seconds_of_stages(chosen.recipe, Path(folder) / "quiet")
        with a_process_that_spins():
            busy = seconds_of_stages(chosen.recipe, Path(folder) / "busy")
    ratios = {stage: round(busy[stage] / quiet[stage], 2) for stage in quiet}
    table = {
        "cores": len(os.sched_getaffinity(0)),
        "recipe": str(chosen.recipe),
        "quiet_seconds": quiet,
        "busy_seconds": busy,
        "ratio": ratios,
        "wanted_at_most": WANTED,
    }
    write_json(RESULTS / "busy.json", table)
    print(json.dumps(table, indent=2))


def seconds_of_stages(recipe: Path, runs_dir: Path) -> dict[str, float]:
    """Seconds of each stage of a run from nothing; of evaluation its sampling and judging."""
    subprocess.run([sys.executable, "-m", "xcoder_train.cli", "run", str(recipe), f"runs_dir={runs_dir}"], check=True)
    (folder,) = runs_dir.iterdir()
    seconds: dict[str, float] = json.loads((folder / "summary.json").read_text())["seconds"]
    return seconds | {"evaluation": sum(map(evaluation_seconds, load_results(folder / "evaluation").values()))}


@contextmanager
def a_process_that_spins() -> Iterator[None]:
    """Another process that takes all it can get of one core."""
    core = min(os.sched_getaffinity(0))
    spinner = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    )
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


if __name__ == "__main__":
    main()
