"""The benchmark of a whole run measures what it says, on right, wrong and hanging programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.livecodebench import HANGING, Scale, write_run

ROOT = Path(__file__).parents[2]
CHECKOUT = os.environ.get("XCODER_LIVECODEBENCH_CHECKOUT")


def run(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.livecodebench", "--output", str(output), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_run_has_the_shares_that_it_says_and_no_program_twice(tmp_path: Path) -> None:
    written = write_run(tmp_path, Scale(problems=4, samples=5, tests=2, hanging=0.2, wrong=0.3))
    assert written["samples"] == {**dict.fromkeys(written["samples"], 1), "wrong": 6, "right": 10}
    assert HANGING.keys() < written["samples"].keys()
    programs = [p for row in json.loads((tmp_path / "whole/submission.json").read_text()) for p in row["code_list"]]
    assert len(set(programs)) == len(programs) == 20
    ends = [p for row in json.loads((tmp_path / "ends/submission.json").read_text()) for p in row["code_list"]]
    assert not any(program.startswith(way) for program in ends for way in HANGING.values())


@pytest.mark.slow
def test_without_a_checkout_this_project_alone_is_measured(tmp_path: Path) -> None:
    scale = ["--problems", "3", "--samples", "2", "--tests", "2", "--hanging", "0.17", "--seconds", "1"]
    ended = run(tmp_path / "out.json", *scale)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["harnesses"].keys() == {"faithful", "livecodebench"} and "ratios" not in figures
    assert figures["harnesses"]["faithful"]["wall_seconds"] > 1


@pytest.mark.slow
@pytest.mark.skipif(CHECKOUT is None, reason="XCODER_LIVECODEBENCH_CHECKOUT names no checkout")
def test_the_official_checker_grades_the_same(tmp_path: Path) -> None:
    scale = ["--problems", "4", "--samples", "2", "--tests", "2", "--hanging", "0.13", "--seconds", "1"]
    ended = run(tmp_path / "out.json", *scale, "--checkout", str(CHECKOUT))
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    for counts in figures["samples_graded_otherwise"].values():
        assert counts["refused here alone"] == 0  # its limit is wall time, so that it may refuse more on a busy machine
    assert figures["ratios"]["faithful"]["official_wall_over_ours"] > 0


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path / "out.json", "--checkout", str(tmp_path))
    assert ended.returncode == 2 and "expected a checkout of LiveCodeBench" in ended.stderr
