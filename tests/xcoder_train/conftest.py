"""The real command on a small recipe."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

SYNTH = """\
name: tiny
seed: 1
synth:
  candidates_per_task: 4
  inputs_per_task: 5
  verification: {minimum_tests: 2}
  splits:
    solved: {use: sft, tasks: 4}
    held: {use: evaluation, tasks: 3}
"""


@dataclass(frozen=True)
class Terminal:
    """Starts commands in a folder that holds `recipe.yaml`."""

    folder: Path

    @property
    def run_folder(self) -> Path:
        """Where the recipe's run lies."""
        return self.folder / "runs" / "tiny"

    def write(self, recipe: str) -> Path:
        """Replace the recipe."""
        path = self.folder / "recipe.yaml"
        path.write_text(recipe)
        return path

    def xcoder(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `xcoder` to the end."""
        return self.module("xcoder_train.cli", *arguments)

    def module(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a module to the end. It has ten minutes, of which it needs seconds where nothing else runs."""
        options: dict[str, Any] = {"cwd": self.folder, "env": self._environment(), "timeout": 600}
        return subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, **options
        )

    def start(
        self, *arguments: str, stdout: int = subprocess.DEVNULL, on_interrupt: Any = signal.SIG_DFL
    ) -> "subprocess.Popen[str]":
        """Start `xcoder` in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            [sys.executable, "-m", "xcoder_train.cli", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stderr=subprocess.PIPE,
            stdout=stdout,
            text=True,
            start_new_session=True,
            # A background job, as a CI runner may be, ignores interrupts and hands that on; a terminal does not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, on_interrupt),
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A folder of this test's own with a recipe whose only stage is a synthesis of seconds."""
    made = Terminal(tmp_path)
    made.write(SYNTH)
    return made


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe with its finished run, to copy from."""
    made = Terminal(tmp_path_factory.mktemp("finished"))
    made.write(SYNTH)
    done = made.xcoder("run", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    return made.folder
