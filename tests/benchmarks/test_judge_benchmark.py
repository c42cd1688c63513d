"""The judge's benchmark runs as a whole, counts what it should, times no wrong verdict, and fills the guide."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.judge import table
from benchmarks.judge.__main__ import GUIDE, RESULTS
from benchmarks.judge.inputs import GENERATORS, PROGRAMS, inputs_of
from benchmarks.judge.process import HarnessProcess, usage
from benchmarks.judge.rows import Row
from benchmarks.judge.workloads import hanging_mix, tiny_program

ROOT = Path(__file__).parents[2]
AGAINST_LIVECODEBENCH = {
    "tiny, a process per test: against LiveCodeBench",
    "functions, one process: against LiveCodeBench",
    "realistic: cost beyond the programs' own, of LiveCodeBench's",
    "the same, beyond the programs as each runs them",
    "10 % hang by slowness: wall time, against LiveCodeBench",
}
BURN = "import sys, time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\nsys.stdin.read()\n"


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.judge", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_quick_run_measures_every_row_that_needs_no_checkout(tmp_path: Path) -> None:
    ended = run_benchmark("--quick", "--output", str(tmp_path / "judge.json"))
    assert ended.returncode == 0, ended.stderr
    written = json.loads((tmp_path / "judge.json").read_text())
    rows = {row["name"]: row for row in written["rows"]}
    assert {name for name, row in rows.items() if row["figure"] is None} == AGAINST_LIVECODEBENCH
    assert {row["met"] for name, row in rows.items() if name in AGAINST_LIVECODEBENCH} == {"not measured"}
    assert rows["tiny, a process per test: against bare python"]["figure"] > 2
    assert written["costs"]["tiny"]["judge"]["page_faults"] > 100
    assert written["machine"]["tier"] in "ABCD"
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())
    assert table.to_markdown(written).count("not measured") == len(AGAINST_LIVECODEBENCH)


def test_a_folder_without_livecodebench_is_refused_with_a_message(tmp_path: Path) -> None:
    ended = run_benchmark("--livecodebench", str(tmp_path))
    assert ended.returncode == 2
    assert "expected a checkout of" in ended.stderr


def test_the_guide_shows_the_figures_of_the_results_file() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    written = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert table.put_into(guide, table.to_markdown(written)) == guide, "run python -m benchmarks.judge --markdown"


def test_there_are_thirty_realistic_programs_whose_inputs_are_the_same_each_time() -> None:
    assert sorted(GENERATORS) == sorted(path.stem for path in PROGRAMS.glob("*.py"))
    assert len(GENERATORS) >= 30
    assert inputs_of("maze") == inputs_of("maze")


def test_one_in_ten_of_the_mix_hangs() -> None:
    mix = hanging_mix([tiny_program()] * 36, ["slow", "deadlock"], 1.0)
    assert [program.verdict for program in mix].count("TLE") * 10 == len(mix) == 40
    assert {program.id for program in mix} == {"tiny", "slow", "deadlock"}


def test_wrong_verdicts_are_not_timed() -> None:
    process = HarnessProcess("bare", [tiny_program(), replace(tiny_program(), expected=("0",) * 10)])
    try:
        assert process.measure(only=0).cpu > 0
        with pytest.raises(SystemExit, match="wrong verdict on tiny"):
            process.measure(only=1)
    finally:
        process.close()


def test_cpu_time_of_living_and_of_ended_descendants_is_counted() -> None:
    before, own = usage()[0], time.process_time()
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        living = usage()[0]
    ended = usage()[0] - (time.process_time() - own)
    assert 0.35 <= living - before <= ended - before + 0.1
    assert ended - before >= 0.38


def test_a_demand_is_met_barely_met_missed_or_not_measured() -> None:
    def met(figure: float | None, at_least: bool) -> str:
        return Row("row", "×", 7, 6 if at_least else 8, at_least, figure, None).met

    assert [met(figure, True) for figure in (7.0, 6.5, 5.9, None)] == ["yes", "barely", "no", "not measured"]
    assert [met(figure, False) for figure in (7.0, 7.5, 8.1)] == ["yes", "barely", "no"]
