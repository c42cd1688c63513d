"""One small synthesis run that several tests read, and how to start others."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]

SETTINGS: dict[str, Any] = {
    "teacher": {"wrong_rate": 0.3, "broken_rate": 0.1},
    "splits": {
        "train": {"use": "sft", "tasks": 24, "depth": [1, 2]},
        "explore": {"use": "rl", "tasks": 8, "depth": [3]},
        "heldout": {"use": "evaluation", "tasks": 8, "depth": [1, 2, 3]},
    },
    "inputs_per_task": 5,
    "candidates_per_task": 4,
    "limit_seconds": 0.5,
}

PROGRAM = """
import json, sys
from pathlib import Path
from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.pipeline import synthesise
from xcoder_core.stage import StageContext

folder, settings, judge = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
context = StageContext(run="test", name="synth", key="key", folder=folder, seed=11, inputs={})
synthesise(SynthSettings.model_validate(settings), JudgeSettings.model_validate(judge), "plain", context)
"""


def _start(
    folder: Path, settings: dict[str, Any] = SETTINGS, workers: int = 2, ray_address: str = "auto"
) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    judge = {"workers": workers, "ray_address": ray_address}
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(settings), json.dumps(judge)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def _finish(folder: Path, settings: dict[str, Any] = SETTINGS, workers: int = 2, ray_address: str = "auto") -> Path:
    process = _start(folder, settings, workers, ray_address)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "timings" not in path.relative_to(folder).as_posix()
    }


@pytest.fixture(scope="session")
def start_synthesis() -> Callable[..., "subprocess.Popen[str]"]:
    """Starts synthesis in a process of its own: (folder, settings, workers, ray_address). Progress is on its stderr."""
    return _start


@pytest.fixture(scope="session")
def finish_synthesis() -> Callable[..., Path]:
    """Runs synthesis to its end: (folder, settings, workers, ray_address); returns the folder."""
    return _finish


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    """SHA-256 of every file of a run but the timings, which are measured."""
    return _digests


@pytest.fixture
def small_settings() -> dict[str, Any]:
    """A copy of what `finished_run` was made with."""
    return json.loads(json.dumps(SETTINGS))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with two workers. Read it, never write to it."""
    return _finish(tmp_path_factory.mktemp("synthesis") / "run")
