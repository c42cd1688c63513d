"""A run's stages in order, each in a process of its own, and what that process does around the stage's work.

It reads the recipe, locks the run, keeps the manifest and reports a failure. `xcoder run` and launchers start it by
`python -m xcoder_train.runs.stage NAME RECIPE [key.path=value …]`. A stage that is started alone takes the run's lock;
`xcoder run` holds it for the stages that it starts.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import cast

from xcoder_core.errors import InputError
from xcoder_core.files import write_text
from xcoder_core.interrupts import allow_interrupts, end_at_first_interrupt
from xcoder_core.lock import RunLock, recorded_owner
from xcoder_core.parent_death import die_with_parent, is_alive
from xcoder_core.secrets import hide_forms
from xcoder_core.stage import RESULT_FILE, StageContext
from xcoder_core.terminal import harmless_lines
from xcoder_train.recipe.reading import Source, load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.failures import INTERRUPTED, TERMINATED, Failure, failure_of
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
from xcoder_train.runs.model_card import CARD, model_card
from xcoder_train.stages import STAGES, StageName
from xcoder_train.training.wandb_run import start_tracking

BREAK_LOCK = "--break-lock"
HELD_BY = "XCODER_RUN_HELD_BY"  # process id of the `xcoder run` that holds the lock for its stages
STARTED = "XCODER_STAGE_STARTED"  # the machine's monotonic clock when the stage's first process was started
FAILURE_FILE = ".failure"


def run_recipe(source: Source, overrides: Sequence[str], only: StageName | None, break_lock: bool) -> int:
    """Run every stage that is not whole yet, or only one. Returns the exit code of the command."""
    recipe = load_recipe(source, overrides)
    if recipe.ablation is not None:
        raise InputError(
            f"{source} describes several runs: xcoder ablate {source}, or add ablation=null to run only the "
            "recipe that they vary"
        )
    stages = recipe.stages if only is None else (only,)
    if only == "grpo" and recipe.has("rates"):
        stages = ("rates", only)
    if only is not None:
        check_stage(recipe, stages[0], source)
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


@contextmanager
def open_stage(
    stage: StageName, recipe_path: Path, overrides: Sequence[str], break_lock: bool = False
) -> Iterator[tuple[Recipe, StageContext | None]]:
    """The recipe and where the stage works; None in place of the latter when its result is finished.

    The main process (RANK 0, or no RANK) writes the manifest and, unless `xcoder run` did so, takes the lock and writes
    the recipe.
    """
    recipe = load_recipe(recipe_path, overrides)
    check_stage(recipe, stage, recipe_path)
    with hold_run(recipe, recipe_path, break_lock):
        if stage_stands(recipe, stage):
            if _is_main_process():
                keep_result(recipe, stage)
            yield recipe, None
            return
        inputs = stage_inputs(recipe, stage)
        key, folder = stage_key(recipe, stage), stage_folder(recipe, stage)
        if _is_main_process():  # a folder that another rank made first would look like a stranger's to this one
            folder.mkdir(parents=True, exist_ok=True)
        context = StageContext(
            recipe.name,
            stage,
            key,
            folder,
            recipe.seed,
            inputs,
            partial(start_tracking, recipe.tracking, config=recipe.model_dump(mode="json")),
        )
        with _recorded(recipe, context):
            yield recipe, context


def main(arguments: Sequence[str] | None = None) -> int:
    """NAME RECIPE [key.path=value …] [--break-lock]. Returns the exit code."""
    name, *given = (sys.argv[1:] if arguments is None else list(arguments)) or [""]
    if name not in STAGES:
        say(f"error: expected one of {', '.join(STAGES)} and RECIPE [key.path=value …], found {name or 'nothing'}")
        return 2
    stage = STAGES[cast(StageName, name)]
    resolve_name(stage.work)  # what is large is imported here, while `xcoder run` has interrupts held back
    break_lock = BREAK_LOCK in given
    words = [word for word in given if word != BREAK_LOCK]
    folder: Path | None = None
    with end_at_first_interrupt():
        try:
            allow_interrupts()
            if "-h" in words or "--help" in words:
                print(f"usage: RECIPE [key.path=value …] [{BREAK_LOCK}]\n\nRuns the stage `{name}` of a recipe.")
                return 0
            if not words or words[0].startswith("-"):
                found = " ".join(given) or "nothing"
                raise InputError(f"expected RECIPE [key.path=value …] [{BREAK_LOCK}], found {found}")
            if HELD_BY in os.environ:
                die_with_parent(os.getppid())  # a launcher's processes do not inherit this
                if not is_alive(int(os.environ[HELD_BY])):
                    return INTERRUPTED
            with open_stage(stage.name, Path(words[0]), words[1:], break_lock) as (recipe, context):
                folder = recipe.run_folder
                if context is not None:
                    perform(recipe, context)
        except (Exception, KeyboardInterrupt) as error:
            return report_failure(error, folder)
    return 0


def perform(recipe: Recipe, context: StageContext) -> None:
    """Do the work of the stage that `context` names, and mark it as finished.

    Training returns its figures in the main process, and gets a card beside its model; other stages finish themselves.
    """
    stage = STAGES[cast(StageName, context.name)]
    work = resolve_name(stage.work)
    if stage.trains is None:
        work(recipe, context)
        return
    figures = work(*(getattr(recipe, section) for section in (stage.name, *stage.sections)), context)
    if figures:
        card = model_card(recipe, stage.name, {"key": context.key, **figures}, {})
        write_text(context.folder / "model" / CARD, card)
        context.finish(**figures)


def check_stage(recipe: Recipe, stage: StageName, source: Source) -> None:
    """Refuse before anything is written: a folder that is made is a run of this recipe from then on."""
    section = {"report": "evaluation", "rates": "grpo"}.get(stage, stage)  # rates can be measured without a curriculum
    if getattr(recipe, section) is None:
        raise InputError(f"{source} has no `{section}:` section; it has {', '.join(recipe.stages)}")
    if not stage_stands(recipe, stage):
        stage_inputs(recipe, stage)


@contextmanager
def hold_run(recipe: Recipe, source: Source, break_lock: bool) -> Iterator[RunLock]:
    """Lock the run and write its recipe. Stages of an `xcoder run` that holds the lock, and other ranks, do neither."""
    folder = recipe.run_folder
    owner = recorded_owner(folder)
    if not _is_main_process() or (owner is not None and os.environ.get(HELD_BY) == str(owner.pid)):
        yield None  # type: ignore[misc]
        return
    RunFolder(recipe).settings_that_changed()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder, break_stale=break_lock)
    except OSError as error:
        raise InputError(
            f"cannot write to the run's folder {folder}: {error.strerror}. Choose another folder: runs_dir=…"
        ) from error
    try:
        run_folder = RunFolder(recipe)
        changes = run_folder.settings_that_changed()
        if changes:
            say("changed since this run's last start; what it touches is made anew beside the old results:")
            for change in changes:
                say(f"  {change}")
        run_folder.write_recipe(source, sys.argv)
        yield lock
    finally:
        lock.release()


@contextmanager
def _recorded(recipe: Recipe, context: StageContext) -> Iterator[None]:
    """Keep the manifest's entry of a stage while it works. Ranks other than the first write nothing."""
    if not _is_main_process():
        yield
        return
    run_folder, stage = RunFolder(recipe), context.name
    (recipe.run_folder / FAILURE_FILE).unlink(missing_ok=True)
    run_folder.begin_stage(stage, context.key, context.folder, context.inputs)
    started = float(os.environ.get(STARTED, time.monotonic()))
    try:
        yield
    except BaseException as error:
        status = failure_of(error, recipe.run_folder).exit_code
        with suppress(OSError):  # on a full disk, the error that is on its way says so
            run_folder.end_stage(stage, time.monotonic() - started, status, None)
        raise
    result = None if stage == "report" else context.folder
    if result is not None and not (result / RESULT_FILE).is_file():
        raise RuntimeError(f"the work of {stage} returned without finishing {context.folder}")
    run_folder.end_stage(stage, time.monotonic() - started, 0, result)


def report_failure(error: Exception | KeyboardInterrupt, run_folder: Path | None) -> int:
    """Report an error and return its exit code. In a multi-process stage only the first process reports it."""
    failure = failure_of(error, run_folder)
    if failure.is_ours:
        print(harmless_lines(hide_forms("".join(traceback.format_exception(error)))), end="", file=sys.stderr)
    if "RANK" not in os.environ:
        if not (isinstance(error, KeyboardInterrupt) and HELD_BY in os.environ):  # `xcoder run` reports those
            say(failure.message)
        return failure.exit_code
    if run_folder is None:  # the recipe, which every process of a node reads alike
        if os.environ.get("LOCAL_RANK", "0") == "0":
            say(failure.message)
        return failure.exit_code
    try:
        with open(run_folder / FAILURE_FILE, "x", encoding="utf-8") as file:
            json.dump({"exit_code": failure.exit_code, "message": failure.message}, file)
        is_told_by_parent = HELD_BY in os.environ
    except FileExistsError:
        return failure.exit_code
    except OSError:
        is_told_by_parent = False
    if not is_told_by_parent:
        say(failure.message)
    return failure.exit_code


def keep_result(recipe: Recipe, stage: StageName) -> None:
    key = stage_key(recipe, stage)
    RunFolder(recipe).keep_stage(stage, key)
    say(f"{stage}: finished before ({key}), kept")


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    print(harmless_lines(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
