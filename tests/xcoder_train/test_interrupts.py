"""Ctrl-C and SIGTERM: one line, the promised exit code, no process left, whatever the run was at."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

SFT = """\
name: tiny
seed: 1
model: {init: {hidden_size: 32, intermediate_size: 32, layers: 1, heads: 2, kv_heads: 1, context: 512}}
inputs: {synth: other}
sft: {batch: 2, max_length: 512, packing: false, training: {learning_rate: 1e-3, max_steps: 100000, save_steps: 3}}
"""


def wait_for_line(process: "subprocess.Popen[str]", words: str) -> str:
    """What the process has said up to the line with `words`."""
    said = ""
    assert process.stderr is not None
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=3)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def ended_by(run: "subprocess.Popen[str]", number: signal.Signals, *, group: bool) -> str:
    """Signal a run; what it says from then on. It ends soon, and nothing may be left of it."""
    below = psutil.Process(run.pid).children(recursive=True)
    assert below
    (os.killpg if group else os.kill)(run.pid, number)
    _, said = run.communicate(timeout=60)
    assert still_running(below) == []
    return said


@pytest.mark.parametrize(
    ("group", "delay"),
    [
        pytest.param(True, 0.02, id="terminal-soon"),
        pytest.param(False, 0.3, id="parent alone-later"),
        pytest.param(True, 0.3, id="terminal-later", marks=pytest.mark.slow),
        pytest.param(False, 0.02, id="parent alone-soon", marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_while_a_stage_imports_is_one_line(terminal: Any, delay: float, group: bool) -> None:
    run = terminal.start("run", "recipe.yaml")
    wait_for_line(run, "synth: starting")
    time.sleep(delay)
    said = ended_by(run, signal.SIGINT, group=group)
    assert run.returncode == 130
    lines = [line for line in said.splitlines() if " of " not in line]  # progress, where imports were done already
    assert lines == ["interrupted; the same command continues"]


@pytest.mark.parametrize(
    ("number", "group", "status", "processes"),
    [
        pytest.param(signal.SIGINT, False, 130, 1, id="parent alone"),
        pytest.param(signal.SIGINT, True, 130, 2, id="terminal and launcher", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, False, 143, 2, id="terminated launcher", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_training_ends_with_one_line_and_leaves_no_process(
    finished_folder: Path, terminal: Any, number: signal.Signals, group: bool, status: int, processes: int
) -> None:
    shutil.copytree(finished_folder / "runs" / "tiny", terminal.folder / "other")
    terminal.write(SFT)
    run = terminal.start("run", "recipe.yaml", f"sft.launch.processes={processes}", "sft.micro_batch=1")
    wait_for_line(run, "SFT: 0 of")
    time.sleep(0.5)
    said = ended_by(run, number, group=group)
    assert run.returncode == status, said
    assert said.count("interrupted") == 1 and said.endswith("interrupted; the same command continues\n"), said
    assert "Traceback" not in said
    assert "arning" not in said and "mtime" not in said, said
    assert not (terminal.run_folder / ".failure").exists()


def test_a_second_interrupt_changes_nothing(terminal: Any) -> None:
    run = terminal.start("run", "recipe.yaml", "synth.splits.solved.tasks=400")
    wait_for_line(run, "executions: 0 of")
    for _ in range(3):
        os.killpg(run.pid, signal.SIGINT)
        time.sleep(0.1)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert said.endswith("interrupted; the same command continues\n") and said.count("interrupted") == 1
    assert "Traceback" not in said and "failed" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_stage_alone_is_told_by_the_run(terminal: Any, number: signal.Signals) -> None:
    run = terminal.start("run", "recipe.yaml", "synth.splits.solved.tasks=400")
    wait_for_line(run, "executions: 0 of")
    (stage,) = psutil.Process(run.pid).children()
    stage.send_signal(number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130 and said.count("interrupted; the same command continues") == 1


def test_a_background_job_stays_deaf_to_ctrl_c(terminal: Any) -> None:
    run = terminal.start("run", "recipe.yaml", on_interrupt=signal.SIG_IGN)
    wait_for_line(run, "synth: starting")
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0 and "interrupted" not in said, said


def test_a_background_job_can_be_terminated(terminal: Any) -> None:
    run = terminal.start("run", "recipe.yaml", "synth.splits.solved.tasks=400", on_interrupt=signal.SIG_IGN)
    wait_for_line(run, "executions: 0 of")
    said = ended_by(run, signal.SIGTERM, group=False)
    assert run.returncode == 143 and said.endswith("interrupted; the same command continues\n")


def test_a_command_that_does_not_continue_does_not_say_so(terminal: Any) -> None:
    program = (
        '{"id": "a", "code": "while True: pass", "tests": [{"input": "", "expected": ""}], "limits": {"seconds": 60}}'
    )
    (terminal.folder / "programs.jsonl").write_text(program + "\n")
    judging = terminal.start("judge", "programs.jsonl", "--workers", "1")
    deadline = time.monotonic() + 30
    while len(psutil.Process(judging.pid).children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    said = ended_by(judging, signal.SIGINT, group=True)
    assert judging.returncode == 130 and said.strip() == "interrupted"
