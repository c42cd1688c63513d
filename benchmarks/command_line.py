"""How long the command takes to answer: CPU time of `xcoder --help` and `xcoder plan`, against an empty Python.

    python -m benchmarks.command_line

Each is started in turns, and the least of ten counts. Wanted: under half a second of CPU. Writes
benchmarks/results/command_line.json.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from xcoder_core.files import write_json

RESULTS = Path(__file__).parent / "results"
COMMANDS = {
    "python": ("-c", "pass"),
    "xcoder --help": ("-m", "xcoder_train.cli", "--help"),
    "xcoder plan": ("-m", "xcoder_train.cli", "plan", "recipes/laptop/quickstart.yaml"),
}


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(10):
        for name, arguments in COMMANDS.items():
            seconds[name].append(cpu_seconds(*arguments))
    least = {name: min(figures) for name, figures in seconds.items()}
    table = {
        "cpu_seconds": {name: round(figure, 3) for name, figure in least.items()},
        "over_python": {name: round(figure / least["python"], 1) for name, figure in least.items()},
        "wanted_seconds_at_most": 0.5,
    }
    write_json(RESULTS / "command_line.json", table)
    print(json.dumps(table, indent=2))


def cpu_seconds(*arguments: str) -> float:
    """CPU seconds, user and system, of one Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
