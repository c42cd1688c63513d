"""What is finished stays finished when the code grows.

`finished_run.tar.xz` holds a small run of every stage as the first revision left it whose keys are hashes of what
differs from the defaults; `run_with_complete_keys.tar.xz` holds the same recipe's run by the revision before. Neither
is made again: they stand for the runs that users have.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from xcoder_core.files import fingerprint
from xcoder_core.records import read_table

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.0 to 3.11.3 have none
PRINT_KEYS = """
import json, sys
from contextlib import suppress
from xcoder_core.errors import InputError
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.keys import evaluation_targets, stage_key
keys = {}
for path in sys.argv[1:]:
    with suppress(InputError):  # some read what is not here, such as a finished run
        recipe = load_recipe(path, [])
        keys[path] = [stage_key(recipe, stage) for stage in recipe.stages]
        if recipe.evaluation is not None:
            keys[path] += [target.key for target in evaluation_targets(recipe, recipe.run_folder)]
print(json.dumps(keys))
"""


def python(folder: Path, *arguments: str, grown: bool) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the code as it is or as it may be later."""
    path = [HERE / "code_of_later", REPOSITORY] if grown else [REPOSITORY]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def xcoder(folder: Path, *arguments: str, grown: bool = False) -> str:
    """What the command prints; it has to end well."""
    done = python(folder, "-m", "xcoder_train.cli", *arguments, grown=grown)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def unpacked(name: str, folder: Path) -> Path:
    """The folder with a stored run and its recipe."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, **SAFELY)  # type: ignore[arg-type]
    return folder


def results(folder: Path) -> dict[str, str]:
    """Every file of a finished stage with its content."""
    return {
        str(path.relative_to(folder)): fingerprint(path)
        for stage in ("synth", "sft", "grpo", "evaluation")
        for path in sorted(folder.glob(f"runs/*/{stage}/**/*"))
        if path.is_file() and "timings" not in path.name
    }


def test_a_setting_that_is_off_moves_no_key_of_any_shipped_recipe() -> None:
    recipes = [str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "recipes").rglob("*.yaml"))]
    today, later = (python(REPOSITORY, "-c", PRINT_KEYS, *recipes, grown=grown) for grown in (False, True))
    assert today.returncode == 0 == later.returncode, today.stderr + later.stderr
    keys = json.loads(today.stdout)
    assert len(keys) > 8
    assert json.loads(later.stdout) == keys


@pytest.mark.parametrize("grown", [False, True], ids=["this code", "code that has grown"])
@pytest.mark.parametrize("name", ["finished_run", "run_with_complete_keys"])
def test_a_stored_run_is_finished_still(tmp_path: Path, name: str, grown: bool) -> None:
    folder = unpacked(name, tmp_path)
    before = results(folder)
    run_name = next((folder / "runs").iterdir()).name
    (folder / "runs" / run_name / "report.html").unlink(missing_ok=True)
    said = xcoder(folder, "run", "recipe.yaml", f"name={run_name}", grown=grown)
    assert said.count("finished before") == 4 and "report: starting" in said
    assert results(folder) == before
    assert (folder / "runs" / run_name / "report.html").stat().st_size > 50_000
    resolved = json.loads((folder / "runs" / run_name / "recipe.resolved.json").read_text())
    assert ("added_later" in resolved["synth"]) == grown
    again = xcoder(folder, "run", "recipe.yaml", f"name={run_name}", grown=grown)
    assert "starting" not in again and "->" not in again


def test_a_stored_run_is_continued_traced_and_evaluated_by_code_that_has_grown(tmp_path: Path) -> None:
    folder = unpacked("finished_run", tmp_path)
    before = results(folder)
    (grpo,) = (folder / "runs/finished/grpo").iterdir()
    shutil.rmtree(grpo / "checkpoints" / "checkpoint-2")
    shutil.rmtree(grpo / "model")
    (grpo / "stage.json").unlink()
    (measured,) = (folder / "runs/finished/evaluation").glob("rl-*")
    shutil.rmtree(measured)
    (folder / "runs/finished/evaluation/stage.json").unlink()

    said = xcoder(folder, "run", "recipe.yaml", "name=finished", grown=True)
    assert "synth: finished before" in said and "sft: finished before" in said and "grpo: starting" in said
    after = results(folder)
    assert before.keys() <= after.keys()
    assert all(after[file] == before[file] for file in before if "/grpo/" not in file and "/rl-" not in file)
    state = json.loads((grpo / "checkpoints" / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["global_step"] == 2 and "GRPO: 1 of 2 steps" in said
    problem = read_table(folder / "runs/finished/synth" / key_of(folder) / "problems.parquet")["problem_id"][0].as_py()
    told = xcoder(folder, "trace", problem, "runs/finished", grown=True)
    assert "GRPO" in told and "step 2" in told


def key_of(folder: Path) -> str:
    """The key of the only synthesis."""
    (made,) = (folder / "runs/finished/synth").iterdir()
    return made.name
