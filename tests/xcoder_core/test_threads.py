"""Threads that wait give way, however a process was started and whatever was imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TEAMS = """
import os, torch
torch.set_num_threads(3)
torch.ones(1 << 20).sum()
alone = len(os.listdir("/proc/self/task"))
import xcoder_train
print(len(os.listdir("/proc/self/task")) - alone)
"""


def said_by(*command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    return subprocess.run(
        [sys.executable, *command],
        env={**environment, "PYTHONPATH": str(PROJECT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("-m", "xcoder_train.sft"), marks=pytest.mark.slow),
        pytest.param(("-m", "xcoder_train.runs.stage", "evaluation"), marks=pytest.mark.slow),
        ("-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "-m", "xcoder_train.sft"),
        ("-c", "import evaluation.samples, torch"),
        ("-c", "import reward.trl, torch"),
    ],
)
def test_threads_that_wait_spin_a_thousand_times_however_a_stage_is_started(command: tuple[str, ...]) -> None:
    """libgomp itself says, when it is loaded, how long its threads spin."""
    assert "GOMP_SPINCOUNT = '1000'" in said_by(*command, OMP_DISPLAY_ENV="verbose").stderr


@pytest.mark.parametrize(
    ("variable", "value", "spins"), [("GOMP_SPINCOUNT", "7", "7"), ("OMP_WAIT_POLICY", "passive", "0")]
)
def test_the_users_own_choice_of_waiting_stands(variable: str, value: str, spins: str) -> None:
    said = said_by("-c", "import xcoder_train, torch", OMP_DISPLAY_ENV="verbose", **{variable: value}).stderr
    assert f"GOMP_SPINCOUNT = '{spins}'" in said


def test_where_torch_was_loaded_first_a_second_team_of_threads_outnumbers_the_cores() -> None:
    """As in a notebook: libgomp then bounds the spinning by itself, and counts threads that sleep."""
    assert said_by("-c", TEAMS).stdout.split() == ["3"]
