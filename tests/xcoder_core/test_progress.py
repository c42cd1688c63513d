"""Progress: a bar on a terminal, a few plain lines anywhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from xcoder_core.terminal import Progress

PROJECT = Path(__file__).parents[2]


def test_without_a_terminal_a_stage_is_a_line_at_its_start_and_one_at_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("tasks", 3, "tasks") as progress:
        for _ in range(3):
            progress.advance()
    start, end = capsys.readouterr().err.splitlines()
    assert start == "tasks: 0 of 3 tasks"
    assert end.startswith("tasks: 3 of 3 tasks in ")


def test_a_resumed_stage_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("tasks", 3000, "tasks", done=1000) as progress:
        progress.advance(2000)
    assert capsys.readouterr().err.startswith("tasks: 1,000 of 3,000 tasks\n")


def test_a_stage_that_fails_ends_at_the_count_it_reached(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), Progress("tasks", 3, "tasks") as progress:
        progress.advance(2)
        raise ValueError
    assert capsys.readouterr().err.splitlines()[-1].startswith("tasks: 2 of 3 tasks in ")


def test_a_note_stands_beside_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("SFT", 2, "steps") as progress:
        progress.advance(2, note="loss 0.5")
    assert capsys.readouterr().err.splitlines()[-1].endswith(", loss 0.5")


def test_slow_steps_are_told_in_seconds_and_none_yet_in_no_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("xcoder_core.terminal.time.monotonic", lambda: now[0])
    with Progress("SFT", 4, "steps", done=1) as progress:
        now[0] += 20
        progress.advance(0, note="loss 2")
        now[0] += 20
        progress.advance(1)
    _, none_yet, one_step, _ = capsys.readouterr().err.splitlines()
    assert none_yet == "SFT: 1 of 4 steps in 20 s, loss 2"
    assert one_step == "SFT: 2 of 4 steps in 40 s (40.0 s each, 80 s left), loss 2"


def test_on_a_terminal_a_stage_is_a_bar_with_count_and_rate() -> None:
    program = (
        "from xcoder_core.terminal import Progress\n"
        "with Progress('tasks', 2000, 'tasks') as progress:\n    progress.advance(1500)\n    progress.advance(500)\n"
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
    assert "tasks" in text and "2000/2000" in text and "/s" in text and "0:00:0" in text


def test_what_takes_longer_than_a_second_is_told_in_seconds_each(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("steps", 4, "steps") as progress:
        progress._started -= 20.0
        progress.advance(4)
    assert "(5.0 s each)" in capsys.readouterr().err
