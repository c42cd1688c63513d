"""What a run leaves in Weights & Biases, offline, and that nothing of it is needed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evaluation.results import ModelResult
from tests.xcoder_train.training.wandb_file import history, summary_and_jobs
from xcoder_core.stage import StageContext
from xcoder_train.runs.evaluation import track_results
from xcoder_train.training.settings import TrackingSettings
from xcoder_train.training.wandb_run import repeat_history, start_tracking, sync_command

SCORES = {"k": [1, 2], "benchmarks": {"heldout": {f"pass_at_{k}": {"mean": k / 4, "ci95": [0.1, 0.9]} for k in (1, 2)}}}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageContext:
    """A stage in a run's folder that holds the run's records."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("recipe.resolved.json", "manifest.json"):
        (tmp_path / name).write_text(json.dumps({"file": name}))
    folder = tmp_path / "evaluation"
    folder.mkdir()
    return tracked(folder, TrackingSettings(wandb="offline"))


def tracked(folder: Path, settings: TrackingSettings) -> StageContext:
    begin = partial(start_tracking, settings, config={"recipe": "as it is"})
    return StageContext("tiny", "evaluation", "stagekey", folder, 0, {}, begin)


def test_without_tracking_the_package_is_not_needed(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import raises
    untracked = tracked(context.folder, TrackingSettings())
    assert untracked.start_tracking(untracked) == []
    track_results(untracked, {"sft": ModelResult("sft", context.folder, SCORES, ())})
    assert list(context.folder.iterdir()) == []


def test_what_a_trainer_asks_of_an_offline_run_warns_of_nothing(tmp_path: Path) -> None:
    trainer = (
        "from pathlib import Path\n"
        "import wandb\n"
        "from xcoder_train.training.settings import TrackingSettings\n"
        "from xcoder_core.stage import StageContext\n"
        "from xcoder_train.training.wandb_run import start_tracking\n"
        "context = StageContext('tiny', 'sft', 'stagekey', Path.cwd(), 0, {})\n"
        "start_tracking(TrackingSettings(wandb='offline'), context, {})\n"
        "assert wandb.run.url is None\n"  # there is none, of which it likes to warn
    )
    own = {name: value for name, value in os.environ.items() if "WANDB" not in name}
    environment = {**own, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", trainer]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr.startswith("W&B: sft is recorded; ") and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_stage_trains_where_wandb_is_not_installed(
    stage: str, tmp_path: Path, synthesis: Path, by_heart: Path, recipe_values: Callable[..., Any]
) -> None:
    inputs = {"synth": str(synthesis), **({"sft": str(by_heart)} if stage == "grpo" else {})}
    values = {**recipe_values(stage, training={"max_steps": 1}), "runs_dir": str(tmp_path / "runs"), "inputs": inputs}
    (tmp_path / "recipe.yaml").write_text(json.dumps(values))
    without = (
        "import sys; sys.modules['wandb'] = None; "  # no import of it finds it, and no look for it
        f"from xcoder_train.runs.stage import main; sys.exit(main([{stage!r}, *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", without, str(tmp_path / "recipe.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.glob(f"runs/tiny/{stage}/*/model/model.safetensors"))


@pytest.mark.slow
def test_what_a_server_has_already_is_neither_removed_nor_said_again(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    for synced in (False, True):
        context.start_tracking(context)
        repeat_history(context.folder, [{"step": 1, "loss": 2.5}])
        wandb.finish()
        wandb.teardown()  # the file is whole once W&B's own process has ended
        (file,) = context.folder.glob("wandb/offline-run-*/run-*.wandb")
        assert [line["train/loss"] for line in history(file)] == [2.5]
        if synced:
            file.with_name(file.name + ".synced").touch()
    time.sleep(1.1)  # the folder's name has the second in it
    context.start_tracking(context)
    repeat_history(context.folder, [{"step": 1, "loss": 2.5}])
    wandb.finish()
    wandb.teardown()
    one, other = sorted(context.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert one == file and history(other) == []


@pytest.mark.slow
def test_pass_at_k_and_the_runs_records_are_in_the_offline_run(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    seen: dict[str, list[Any]] = {"log": [], "log_artifact": [], "finish": []}
    own_finish = wandb.Run.finish

    def finish(run: Any) -> None:
        seen["finish"].append((dict(run.config), dict(run.summary)))
        own_finish(run)

    monkeypatch.setattr(wandb.Run, "finish", finish)

    def watched(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            seen[name].append(given[-1])
            return own(*given, **named)

        return call

    for name in ("log", "log_artifact"):
        monkeypatch.setattr(wandb.Run, name, watched(name, getattr(wandb.Run, name)))
    results = {label: ModelResult(label, context.folder, SCORES, ()) for label in ("base", "sft")}
    track_results(context, results)
    assert seen["log"][0]["pass@k"].data[:2] == [
        ["base", "heldout", "pass@1", 0.25, 0.1, 0.9],
        ["base", "heldout", "pass@2", 0.5, 0.1, 0.9],
    ]
    assert set(seen["log_artifact"][0].manifest.entries) == {"recipe.resolved.json", "manifest.json"}
    assert (context.folder / "wandb_run_id").read_text() == "tiny-evaluation-stagekey\n"
    (file,) = context.folder.glob("wandb/offline-run-*/run-*.wandb")
    assert file.stat().st_size > 0
    ((config, summary),) = seen["finish"]
    assert config == {"recipe": "as it is"}
    assert summary["sft/heldout/pass@2"] == 0.5


def test_the_printed_sync_command_is_the_documented_one() -> None:
    assert sync_command("STAGE_FOLDER") in (Path(__file__).parents[3] / "docs" / "grpo.md").read_text()


@pytest.mark.slow
def test_a_synthesis_has_an_offline_run_with_its_funnel_and_seconds_and_a_plain_log(tmp_path: Path) -> None:
    recipe = {
        "name": "tiny",
        "tracking": {"wandb": "offline"},
        "synth": {"candidates_per_task": 4, "inputs_per_task": 5, "splits": {"solved": {"use": "sft", "tasks": 4}}},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    own = {name: value for name, value in os.environ.items() if "WANDB" not in name}  # W&B leaves its process's address
    done = subprocess.run(
        [sys.executable, "-m", "xcoder_train.cli", "synth", "recipe.yaml"],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("runs/tiny/synth/*/wandb/offline-run-*/run-*.wandb")
    summary, jobs = summary_and_jobs(file)
    funnel = json.loads((file.parents[2] / "funnel.json").read_text())
    assert summary["funnel"] == funnel and summary["seconds"]["tasks"]["wall_seconds"] >= 0
    assert jobs == {"synth"}
    assert sync_command(file.parents[2].relative_to(tmp_path)) in done.stderr
    assert "\x1b" not in done.stderr and "WARNING" not in done.stderr
