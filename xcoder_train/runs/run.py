"""A run: its stages in order, each in a process of its own (`runs/stage.py`)."""

import json
import os
import time
from collections.abc import Sequence

from xcoder_core.errors import InputError
from xcoder_core.interrupts import end_at_first_interrupt
from xcoder_core.lock import RunLock
from xcoder_train.recipe.reading import Source, load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.failures import INTERRUPTED, TERMINATED, Failure
from xcoder_train.runs.folder import RESOLVED_RECIPE, RunFolder, stage_stands
from xcoder_train.runs.keys import stage_folder, stage_inputs, stage_key
from xcoder_train.runs.launch import (
    has_gpu,
    launch_settings,
    needs_launcher,
    run_process,
    stage_command,
    stage_environment,
)
from xcoder_train.runs.stage import (
    FAILURE_FILE,
    HELD_BY,
    STARTED,
    check_inputs,
    hold_run,
    keep_result,
    report_failure,
    say,
    section_of,
)
from xcoder_train.stages import StageName


def run_recipe(source: Source, overrides: Sequence[str], only: StageName | None, break_lock: bool) -> int:
    """Run every stage that is not whole yet, or only one. Returns the exit code of the command."""
    recipe = load_recipe(source, overrides)
    if recipe.ablation is not None:
        raise InputError(
            f"{source} describes several runs: xcoder ablate {source}, or add ablation=null to run only the "
            "recipe that they vary"
        )
    stages = recipe.stages if only is None else (only,)
    if only is not None and not recipe.has(only):
        raise InputError(f"{source} has no `{section_of(only)}:` section; it has {', '.join(recipe.stages)}")
    if only is not None:
        check_inputs(recipe, only)
    with end_at_first_interrupt():
        try:
            with hold_run(recipe, source, break_lock) as lock:
                for stage in stages:
                    status = _run_one(recipe, stage, lock)
                    if status != 0:
                        return status
        except (Exception, KeyboardInterrupt) as error:
            return report_failure(error, recipe.run_folder)
    say(f"done: {recipe.run_folder}")
    return 0


def _run_one(recipe: Recipe, stage: StageName, lock: RunLock) -> int:
    if stage_stands(recipe, stage):
        keep_result(recipe, stage)
        return 0
    stage_inputs(recipe, stage)
    launch = launch_settings(recipe, stage)
    resolved = str(recipe.run_folder / RESOLVED_RECIPE)  # editing the recipe while it runs changes nothing
    command = stage_command(launch, stage, [resolved], has_gpu(launch))
    say(f"{stage}: starting ({stage_key(recipe, stage)})")
    _taken_failure(recipe)  # of a run that was killed before it could report it
    started = time.monotonic()
    environment = {**stage_environment(launch), HELD_BY: str(os.getpid()), STARTED: str(started)}
    try:
        status = run_process(command, environment, lock.descriptor, through_launcher=needs_launcher(launch))
    except KeyboardInterrupt:
        left = _taken_failure(recipe)
        if left is not None and left.exit_code not in (INTERRUPTED, TERMINATED):
            say(left.message)
        raise
    left = _taken_failure(recipe)
    if left is not None:
        say(left.message)
        return left.exit_code
    if status in (INTERRUPTED, TERMINATED):  # of the stage alone, which leaves the report to us
        raise KeyboardInterrupt
    if status < 0:
        say(
            f"error: {stage} was ended by signal {-status}"
            + (" (often: out of memory)" if status == -9 else "")
            + "; the same command continues"
        )
        RunFolder(recipe).end_stage(stage, time.monotonic() - started, status, None)
        return 1
    if status == 0 and not stage_stands(recipe, stage):
        say(f"error: {stage} ended without a result in {stage_folder(recipe, stage)}")
        return 1
    if status == 0:
        say(f"{stage}: done in {time.monotonic() - started:.0f} s")
    return status


def _taken_failure(recipe: Recipe) -> Failure | None:
    """Remove and return the failure that the stage left in its file. Launchers turn every exit code into 1."""
    file = recipe.run_folder / FAILURE_FILE
    try:
        left = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none, or one that a full disk or a kill cut short
        left = None
    file.unlink(missing_ok=True)
    return None if left is None else Failure(left["message"], left["exit_code"])
