"""The benchmark of synthesis runs the whole pipeline, and its figures are those of what it ran."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.synthesis import summarise

ROOT = Path(__file__).parents[2]


def test_a_tiny_run_makes_every_stage_and_keeps_nearly_all_tasks() -> None:
    command = [sys.executable, "-m", "benchmarks.synthesis", "--one", "40", "--reasoning", "500"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout)
    assert measured["candidates"] == 40 * 8 and measured["kept"] >= 36
    assert 40 * 8 * 12 <= measured["executions"] <= 40 * 8 * 15 + 40 * 8
    assert list(measured["stages"]) == [
        "tasks", "inputs", "candidates", "executions", "brute force", "verification", "cleaning", "datasets"
    ]  # fmt: skip
    assert all(stage["cpu_seconds"] > 0 and stage["peak_mib"] > 20 for stage in measured["stages"].values())


def test_the_share_is_bookkeeping_over_the_judges_time() -> None:
    sizes = [
        {"tasks": tasks, "executions": 1000, "stages": {"a": {"cpu_seconds": 2.0, "peak_mib": peak}}}
        for tasks, peak in ((100, 50.0), (200, 51.0))
    ]
    judging = {"cpu_seconds_per_execution": 0.05, "handling_cpu_seconds_per_execution": 0.001}
    summary = summarise(sizes, judging)
    assert [size["bookkeeping_share"] for size in summary["sizes"]] == [0.06, 0.06]
    assert summary["peak_bytes_per_further_task"] == round((1 << 20) / 100)
