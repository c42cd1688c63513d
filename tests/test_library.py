"""The scripts of docs/library.md, executed as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
TRAINING, REWARD, JUDGE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first script has made its results."""
    folder = tmp_path_factory.mktemp("library")
    said = executed(TRAINING, folder)
    assert re.search(r"^SFT: \d+ examples, loss \d", said, re.MULTILINE), said
    assert "GRPO: 32 rollouts judged" in said
    return folder


def executed(script: str, folder: Path) -> str:
    """Everything that the script printed on standard output; it has to end well."""
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(file)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_stages_train_without_a_recipe(folder: Path) -> None:
    assert (folder / "library" / "grpo" / "model" / "model.safetensors").is_file()
    assert not (folder / "runs").exists()


def test_the_judge_is_a_reward_in_a_plain_trl_script(folder: Path) -> None:
    assert re.search(r"^mean reward of the first step: 0\.00$", executed(REWARD, folder), re.MULTILINE)


def test_the_judge_judges_alone(tmp_path: Path) -> None:
    assert executed(JUDGE, tmp_path) == "AC\n"
