"""Runs on real processes: what is kept, what is refused, what survives a kill."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.files import fingerprint, write_json
from xcoder_core.lock import LOCK_FILE
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import RunFolder
from xcoder_train.runs.keys import evaluation_targets, stage_key, training_data


def tree(folder: Path) -> dict[str, int]:
    """Every file below a folder with the time of its last change."""
    return {
        str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE
    }


@pytest.fixture
def finished(finished_folder: Path, terminal: Any) -> Path:
    """A finished run in the terminal's folder; returns the run's folder."""
    shutil.copytree(finished_folder, terminal.folder, dirs_exist_ok=True)
    return terminal.run_folder


def test_a_run_leaves_what_the_next_reader_needs(finished: Path, finished_folder: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    entry = manifest["stages"]["synth"]
    result = finished / "synth" / entry["key"]
    assert json.loads((result / "stage.json").read_text())["key"] == entry["key"]
    assert entry["exit_status"] == 0 and entry["seconds"] > 0 and entry["ended"] >= entry["started"]
    assert entry["figures"]["funnel"].keys() == {"solved", "held"}
    assert manifest["seed"] == 1 and manifest["versions"]["trl"]
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["seconds"]["synth"] == entry["seconds"] and summary["funnel"].keys() == {"solved", "held"}
    assert (finished / "recipe.yaml").read_text() == (finished_folder / "recipe.yaml").read_text()
    assert json.loads((finished / "recipe.resolved.json").read_text())["synth"]["candidates_per_task"] == 4


def test_a_whole_stage_is_not_redone(finished: Path, terminal: Any) -> None:
    before = tree(finished / "synth")
    done = terminal.xcoder("run", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    assert "synth: finished before (" in done.stderr
    assert tree(finished / "synth") == before


def test_a_result_that_is_used_again_brings_its_own_seconds(terminal: Any) -> None:
    folder = RunFolder(load_recipe(terminal.folder / "recipe.yaml", [f"runs_dir={terminal.folder / 'runs'}"]))
    folder.path.mkdir(parents=True)
    for key, seconds in (("first", 5.0), ("second", 7.0)):
        folder.begin_stage("sft", key, folder.path / key, {})
        folder.end_stage("sft", seconds, 0, None)
    for key, seconds in (("second", 7.0), ("first", 5.0), ("unknown", 5.0), ("second", 7.0)):
        folder.keep_stage("sft", key)
        assert json.loads((folder.path / "summary.json").read_text())["seconds"] == {"sft": seconds}
    assert [entry["key"] for entry in folder.manifest()["earlier"]] == ["first"]


def test_a_model_that_was_trained_on_other_data_too_is_not_said_to_be_trained_on_this_synthesis(tmp_path: Path) -> None:
    for stage, figures in (("synth", {}), ("sft", {"data": "elsewhere"}), ("grpo", {"data": "this"})):
        write_json(tmp_path / stage / "this" / "stage.json", {"stage": stage, "key": stage, **figures})
    recipe = Recipe.model_validate(
        {
            "name": "measured",
            "model": {"path": "owner/name"},
            "inputs": {stage: tmp_path / stage / "this" for stage in ("synth", "sft", "grpo")},
            "evaluation": {},
        }
    )
    assert [training_data(recipe, label) for label in ("base", "sft", "rl")] == [None, None, None]
    write_json(tmp_path / "sft" / "this" / "stage.json", {"stage": "sft", "key": "sft", "data": "this"})
    synthesis = tmp_path / "synth" / "this"
    assert [training_data(recipe, label) for label in ("base", "sft", "rl")] == [None, synthesis, synthesis]


def test_what_decides_verdicts_is_part_of_every_key_that_rests_on_them(terminal: Any) -> None:
    def key(*overrides: str) -> str:
        return stage_key(load_recipe(terminal.folder / "recipe.yaml", overrides), "synth")

    assert key("judge.output_mib=1") != key() != key("judge.policy=livecodebench")
    assert key("judge.wall_factor=3", "judge.workers=1", "judge.output_mib=16") == key()


def test_settings_that_shape_no_result_redo_nothing(finished: Path, terminal: Any) -> None:
    done = terminal.xcoder("run", "recipe.yaml", "judge.workers=1", "synth.executor=ray", "report.samples=3")
    assert done.returncode == 0 and "kept" in done.stderr
    assert "judge.workers: null -> 1" in done.stderr


def test_a_folder_with_another_recipes_run_is_refused_and_untouched(finished: Path, terminal: Any) -> None:
    before = tree(finished)
    done = terminal.xcoder("run", "recipe.yaml", "seed=2", "synth.candidates_per_task=5", "judge.workers=1")
    assert done.returncode == 2
    assert "seed: 1 -> 2" in done.stderr and "synth.candidates_per_task: 4 -> 5" in done.stderr
    assert "name=" in done.stderr and "restore" in done.stderr and "move" in done.stderr
    assert "judge.workers" not in done.stderr
    assert done.stderr.count("error:") == 1 and "Traceback" not in done.stderr
    assert tree(finished) == before


def test_a_stored_setting_that_is_gone_is_left_out_and_one_that_cannot_be_read_is_named(
    finished: Path, terminal: Any
) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    manifest["settings"]["synth"] |= {"gone": 3, "teacher": {"gone": [1]}}
    write_json(finished / "manifest.json", manifest)
    done = terminal.xcoder("run", "recipe.yaml")
    assert done.returncode == 0 and "kept" in done.stderr and "->" not in done.stderr
    manifest["settings"]["synth"] = {"splits": 7}
    write_json(finished / "manifest.json", manifest)
    refused = terminal.xcoder("run", "recipe.yaml")
    assert refused.returncode == 2 and "holds a recipe that this version cannot read" in refused.stderr


def test_a_second_process_on_a_run_is_told_who_holds_it(terminal: Any) -> None:
    terminal.write(recipe_text(terminal).replace("tasks: 4", "tasks: 400"))
    first = terminal.start("run", "recipe.yaml")
    try:
        wait_for(terminal.run_folder / "synth")
        second = terminal.xcoder("run", "recipe.yaml")
        assert second.returncode == 2
        assert f"is in use by process {first.pid} on {socket.gethostname()}" in second.stderr
        assert second.stderr.count("error:") == 1 and "Traceback" not in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_killed_run_leaves_no_child_and_the_same_command_continues(terminal: Any) -> None:
    terminal.write(recipe_text(terminal).replace("tasks: 4", "tasks: 20"))
    first = terminal.start("run", "recipe.yaml")
    wait_for(terminal.run_folder / "synth")
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    deadline = time.monotonic() + 10
    while is_running(int(children[0])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(children[0]))
    done = terminal.xcoder("run", "recipe.yaml")
    assert done.returncode == 0, done.stderr

    shutil.move(terminal.folder / "runs", terminal.folder / "interrupted")
    assert terminal.xcoder("run", "recipe.yaml").returncode == 0
    key = stage_key(load_recipe(terminal.folder / "recipe.yaml", []), "synth")
    for table in ("problems.parquet", "tests.parquet", "solutions.parquet", "memberships.parquet"):
        both = [terminal.folder / runs / "tiny" / "synth" / key / table for runs in ("interrupted", "runs")]
        assert fingerprint(both[0]) == fingerprint(both[1])


def test_an_interrupt_ends_with_one_message_and_the_same_command_continues(terminal: Any) -> None:
    terminal.write(recipe_text(terminal).replace("tasks: 4", "tasks: 20"))
    first = terminal.start("run", "recipe.yaml")
    wait_for(terminal.run_folder / "synth")
    os.killpg(first.pid, signal.SIGINT)  # what Ctrl-C does: the whole group of the terminal
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert said.count("the same command continues") == 1
    assert "Traceback" not in said
    assert terminal.xcoder("run", "recipe.yaml").returncode == 0


def test_a_terminated_run_takes_its_stage_with_it(terminal: Any) -> None:
    terminal.write(recipe_text(terminal).replace("tasks: 4", "tasks: 400"))
    run = terminal.start("run", "recipe.yaml")
    wait_for(terminal.run_folder / "synth")
    child = int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text())
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert not is_running(child)


def test_a_folder_that_is_no_run_is_left_alone(terminal: Any) -> None:
    (terminal.run_folder / "thesis").mkdir(parents=True)
    done = terminal.xcoder("run", "recipe.yaml")
    assert done.returncode == 2 and "is not a run: it holds thesis" in done.stderr
    assert [path.name for path in terminal.run_folder.iterdir()] == ["thesis"]


def test_a_stage_launched_by_hand_does_the_same(terminal: Any, finished_folder: Path) -> None:
    done = terminal.module("xcoder_train.runs.stage", "synth", "recipe.yaml")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((terminal.run_folder / "manifest.json").read_text())
    assert manifest["stages"]["synth"]["exit_status"] == 0
    key = manifest["stages"]["synth"]["key"]
    for table in ("problems.parquet", "solutions.parquet"):
        results = [folder / "runs" / "tiny" / "synth" / key / table for folder in (terminal.folder, finished_folder)]
        assert fingerprint(results[0]) == fingerprint(results[1])
    again = terminal.module("xcoder_train.runs.stage", "synth", "recipe.yaml")
    assert again.returncode == 0 and "finished before" in again.stderr


def test_a_stage_without_its_input_names_what_to_run(terminal: Any) -> None:
    model = "model={init: {context: 512}}"
    done = terminal.xcoder("sft", "recipe.yaml", model, "sft={batch: 4, max_length: 512}")
    assert done.returncode == 2
    assert "sft needs the result of synth" in done.stderr and "xcoder synth RECIPE" in done.stderr
    assert "Traceback" not in done.stderr
    assert not terminal.run_folder.exists()


def test_a_run_in_which_nothing_began_binds_nobody_to_its_starting_point(finished: Path, terminal: Any) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    shutil.rmtree(finished / "synth")
    (finished / "manifest.json").write_text(json.dumps({**manifest, "stages": {}}))
    done = terminal.xcoder("run", "recipe.yaml", "seed=2")
    assert done.returncode == 0, done.stderr
    assert "seed: 1 -> 2" in done.stderr
    assert terminal.xcoder("run", "recipe.yaml", "seed=3").returncode == 2


def test_a_full_disk_is_one_message_and_the_same_command_continues(terminal: Any) -> None:
    disk = terminal.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        terminal.write(recipe_text(terminal).replace("tasks: 4", "tasks: 30"))
        full = terminal.xcoder("run", "recipe.yaml", f"runs_dir={disk}")
        assert full.returncode == 3, full.stderr
        assert full.stderr.count("disk full:") == 1 and "Traceback" not in full.stderr
        assert "the same command: it continues" in full.stderr.replace("run the", "the")
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        done = terminal.xcoder("run", "recipe.yaml", f"runs_dir={disk}")
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_model_folder_that_holds_no_model_is_named(terminal: Any) -> None:
    (terminal.folder / "empty").mkdir()
    for path, said in (("./empty", "it lacks config.json and *.safetensors"), ("./missing", "there is no folder")):
        done = terminal.xcoder("run", "recipe.yaml", f"model.path={path}", "sft={}")
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert not (terminal.folder / "runs").exists()


def test_an_input_is_another_runs_result(finished: Path, terminal: Any) -> None:
    other = terminal.folder / "other.yaml"
    other.write_text("model: {init: {context: 512}}\ninputs: {synth: runs/tiny}\nsft: {max_length: 512}\n")
    planned = json.loads(terminal.xcoder("plan", "other.yaml", "--json").stdout)
    counted = json.loads((finished / "manifest.json").read_text())["stages"]["synth"]["figures"]["dataset_rows"]["sft"]
    assert planned["stages"]["sft"]["examples"] == counted
    missing = terminal.xcoder("plan", "other.yaml", "inputs.synth=runs/nowhere")
    assert missing.returncode == 2 and "there is no folder runs/nowhere" in missing.stderr


FULL = """\
model: {init: {context: 512}}
synth: {splits: {a: {use: sft, tasks: 4}, b: {use: rl, tasks: 4}, c: {use: evaluation, tasks: 4}}}
sft: {max_length: 512, training: {learning_rate: 1e-3}}
grpo: {prompts_per_step: 4, rollouts: 4, max_prompt_length: 200, max_completion_length: 200, micro_batch: 4}
evaluation: {sampling: {max_new_tokens: 100}}
"""


@pytest.mark.parametrize(
    ("override", "redone", "models"),
    [
        ("sft.training.learning_rate=2e-3", {"sft", "grpo", "evaluation", "report"}, {"sft", "rl"}),
        ("grpo.training.learning_rate=2e-3", {"grpo", "evaluation", "report"}, {"rl"}),
        ("grpo.reward.shuffle_within_batch=true", {"grpo", "evaluation", "report"}, {"rl"}),
        ("evaluation.samples=9", {"evaluation", "report"}, {"base", "sft", "rl"}),
        ("sft.launch.processes=4", set(), set()),
        ("judge.workers=3", set(), set()),
        ("judge.executor=ray", set(), set()),
        ("synth.executor=ray", set(), set()),
        ("synth.expected.statement_tokens=500", set(), set()),
        ("synth.push_to.repository=me/tasks", set(), set()),
        ("evaluation.generation.batch_size=3", set(), set()),
        ("report.samples=3", {"report"}, set()),
        ("synth.inputs_per_task=9", {"synth", "sft", "grpo", "evaluation", "report"}, {"base", "sft", "rl"}),
        ("seed=4", {"synth", "sft", "grpo", "evaluation", "report"}, {"base", "sft", "rl"}),
    ],
)
def test_a_change_redoes_what_it_touches_and_what_follows(
    tmp_path: Path, override: str, redone: set[str], models: set[str]
) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(FULL)
    before, after = load_recipe(path, []), load_recipe(path, [override])
    assert {stage for stage in before.stages if stage_key(before, stage) != stage_key(after, stage)} == redone
    keys = [{target.label: target.key for target in evaluation_targets(r, r.run_folder)} for r in (before, after)]
    assert {label for label in keys[0] if keys[0][label] != keys[1][label]} == models


def test_a_teacher_whose_server_has_moved_goes_on_with_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(FULL)

    def asked(server: str) -> RunFolder:
        overrides = [f"runs_dir={tmp_path}", f"synth.teacher={{kind: openai, server: {{{server}}}}}"]
        return RunFolder(load_recipe(path, overrides))

    begun = asked("base_url: 'http://one/v1', model: m")
    begun.path.mkdir()
    begun.write_recipe(path, ["xcoder", "run"])
    begun.begin_stage("synth", stage_key(begun.recipe, "synth"), tmp_path, {})
    moved = asked("base_url: 'http://two/v1', model: m, max_concurrency: 8")
    assert stage_key(moved.recipe, "synth") == stage_key(begun.recipe, "synth")
    assert len(moved.settings_that_changed()) == 2
    with pytest.raises(InputError, match="another starting point"):
        asked("base_url: 'http://one/v1', model: other").settings_that_changed()


def test_other_content_in_the_file_of_features_is_another_synthesis(tmp_path: Path) -> None:
    path, rows = tmp_path / "full.yaml", tmp_path / "rows.jsonl"
    path.write_text(FULL)
    overrides = [
        "synth.teacher={kind: openai, server: {base_url: 'http://localhost/v1', model: m}}",
        f"synth.features.source={{kind: xcoder_rows, path: {rows}}}",
    ]
    keys = []
    for content in ("{}", "{}", "[]"):
        rows.write_text(content)
        keys.append(stage_key(load_recipe(path, overrides), "synth"))
    assert keys[0] == keys[1] != keys[2]


def recipe_text(terminal: Any) -> str:
    return (terminal.folder / "recipe.yaml").read_text()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
