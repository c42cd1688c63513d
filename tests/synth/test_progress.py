"""Progress: a bar on a terminal, a few plain lines anywhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from synth.progress import stage_progress

PROJECT = Path(__file__).parents[2]


def test_without_a_terminal_a_stage_is_a_line_at_its_start_and_one_at_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with stage_progress("tasks", 3) as advance:
        for _ in range(3):
            advance(1)
    start, end = capsys.readouterr().err.splitlines()
    assert start == "tasks: 3 to do"
    assert end.startswith("tasks: done, 3 in ")


def test_a_resumed_stage_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with stage_progress("tasks", 3000, done=1000) as advance:
        advance(2000)
    assert capsys.readouterr().err.startswith("tasks: 1,000 of 3,000 are there already\n")


def test_a_stage_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), stage_progress("tasks", 3):
        raise ValueError
    assert "done" not in capsys.readouterr().err


def test_on_a_terminal_a_stage_is_a_bar_with_count_and_rate() -> None:
    program = (
        "from synth.progress import stage_progress\n"
        "with stage_progress('tasks', 2000) as advance:\n    advance(1500)\n    advance(500)\n"
    )
    reading, writing = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", program], stderr=writing, env=environment, check=True)
    os.close(writing)
    shown = b""
    try:
        while chunk := os.read(reading, 4096):
            shown += chunk
    except OSError:  # the terminal reports the end of its other side as an error
        pass
    os.close(reading)
    text = shown.decode()
    assert "tasks" in text and "2000/2000" in text and "/s" in text and "to do" not in text
