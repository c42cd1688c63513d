"""`xcoder ablate` from synthesis to tables, killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _xcoder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xcoder_train.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=400
    )


def _results(folder: Path) -> dict[str, float]:
    """When each result of the ablation was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime
        for path in folder.glob("*/*/**/stage.json")
        if path.parent.parent.name in ("synth", "sft") or path.parent.name.startswith("sft-")
    }


@pytest.mark.slow
def test_an_ablation_survives_a_kill_keeps_what_is_whole_and_writes_its_tables_from_results_alone(
    recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe()
    ablation = tmp_path / "runs" / "tiny"
    command = [sys.executable, "-m", "xcoder_train.cli", "ablate", "tiny.yaml"]
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **silent)
    deadline = time.monotonic() + 300
    while not list(ablation.glob("8x1-seed0/sft/*/stage.json")) and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = _results(ablation)
    assert any(name.startswith("pool/") for name in before) and any(name.startswith("8x1") for name in before)
    assert not (ablation / "results.json").exists()

    done = _xcoder(tmp_path, "ablate", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    after = _results(ablation)
    assert before.items() <= after.items()
    found = json.loads((ablation / "results.json").read_text())
    assert found["missing"] == [] and [len(arm["runs"]) for arm in found["arms"]] == [1, 1]
    for arm in found["arms"]:
        (run,) = arm["runs"]
        assert (run["examples"], run["epochs"], run["steps"]) == (8, 2.0, 4)
        assert arm["problems"] > 0 and 0 <= arm["ci95"][0] <= arm["mean"] <= arm["ci95"][1] <= 1
    assert found["arms"][1]["difference"]["ci95"] is not None

    again = _xcoder(tmp_path, "ablate", "tiny.yaml")
    assert again.returncode == 0 and again.stdout == (ablation / "table.md").read_text()
    assert _results(ablation) == after
    assert _xcoder(tmp_path, "ablate", "tiny.yaml", "--commands", "xcoder").stdout.strip() == ""

    made = {path.name: path.read_bytes() for path in ablation.iterdir() if path.is_file()}
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ablation / "results.json", alone)
    shutil.rmtree(tmp_path / "runs")
    assert _xcoder(tmp_path, "ablate", "alone/results.json", "--tables").returncode == 0
    assert {path.name: path.read_bytes() for path in alone.iterdir()} == made
