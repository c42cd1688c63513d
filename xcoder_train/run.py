"""A run: its stages in order, each in a process of its own, and what every stage process does around its work.

`xcoder run` and a stage module launched by hand (`accelerate launch … -m xcoder_train.sft RECIPE`) end in the same
`run_stage`. Whoever comes first takes the run's lock; a stage started by `xcoder run` finds it taken for it.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from xcoder_train.core.errors import InputError
from xcoder_train.core.interrupts import allow_interrupts, end_at_first_interrupt
from xcoder_train.core.lock import RunLock, recorded_owner
from xcoder_train.core.parent_death import die_with_parent, is_alive
from xcoder_train.core.secrets import hide_forms
from xcoder_train.core.stage import RESULT_FILE, StageContext
from xcoder_train.core.terminal import harmless_lines
from xcoder_train.failures import INTERRUPTED, TERMINATED, Failure, failure_of
from xcoder_train.launch import (
    has_gpu,
    launch_settings,
    needs_launcher,
    run_process,
    stage_command,
    stage_environment,
)
from xcoder_train.recipe import Recipe, StageName
from xcoder_train.recipe_reading import Source, load_recipe
from xcoder_train.results import REPORT_FILE, is_whole, stage_folder, stage_inputs, stage_key
from xcoder_train.run_folder import RESOLVED_RECIPE, RunFolder

BREAK_LOCK = "--break-lock"
_HELD_BY = "XCODER_RUN_HELD_BY"  # process id of the `xcoder run` that holds the lock for its stages
_STARTED = "XCODER_STAGE_STARTED"  # the machine's monotonic clock when the stage's first process was started
_FAILURE_FILE = ".failure"

Work = Callable[[Recipe, StageContext], None]


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
        raise InputError(f"{source} has no `{_section(only)}:` section; it has {', '.join(recipe.stages)}")
    if only is not None:
        _check_inputs(recipe, only)
    with end_at_first_interrupt():
        try:
            with _held(recipe, source, break_lock) as lock:
                for stage in stages:
                    status = _run_one(recipe, stage, lock)
                    if status != 0:
                        return status
        except (Exception, KeyboardInterrupt) as error:
            return report_failure(error, recipe.run_folder)
    _say(f"done: {recipe.run_folder}")
    return 0


@contextmanager
def open_stage(
    stage: StageName, recipe_path: Path, overrides: Sequence[str], break_lock: bool = False
) -> Iterator[tuple[Recipe, StageContext | None]]:
    """The recipe and where the stage works; None in place of the latter when its result is whole already.

    The main process (RANK 0, or no RANK) writes the manifest and, unless `xcoder run` did so, takes the lock and writes
    the recipe.
    """
    recipe = load_recipe(recipe_path, overrides)
    if not recipe.has(stage):
        raise InputError(f"{recipe_path} has no `{_section(stage)}:` section; it has {', '.join(recipe.stages)}")
    _check_inputs(recipe, stage)
    with _held(recipe, recipe_path, break_lock):
        if stage_stands(recipe, stage):
            if _is_main_process():
                _keep(recipe, stage)
            yield recipe, None
            return
        inputs = stage_inputs(recipe, stage)
        key, folder = stage_key(recipe, stage), stage_folder(recipe, stage)
        if _is_main_process():  # a folder that another rank made first would look like a stranger's to this one
            folder.mkdir(parents=True, exist_ok=True)
        context = StageContext(recipe.name, stage, key, folder, recipe.seed, inputs)
        with _recorded(recipe, context):
            yield recipe, context


def run_stage(name: StageName, work: Work, arguments: Sequence[str] | None = None) -> int:
    """What the main function of a stage module is: RECIPE [key.path=value …] [--break-lock]. Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    break_lock = BREAK_LOCK in given
    words = [word for word in given if word != BREAK_LOCK]
    folder: Path | None = None
    with end_at_first_interrupt():
        try:
            allow_interrupts()  # `xcoder run` has them held back while a stage imports
            if "-h" in words or "--help" in words:
                print(f"usage: RECIPE [key.path=value …] [{BREAK_LOCK}]\n\nRuns the stage `{name}` of a recipe.")
                return 0
            if not words or words[0].startswith("-"):
                found = " ".join(given) or "nothing"
                raise InputError(f"expected RECIPE [key.path=value …] [{BREAK_LOCK}], found {found}")
            if _HELD_BY in os.environ:
                die_with_parent(os.getppid())  # a launcher's processes do not inherit this
                if not is_alive(int(os.environ[_HELD_BY])):
                    return INTERRUPTED
            with open_stage(name, Path(words[0]), words[1:], break_lock) as (recipe, context):
                folder = recipe.run_folder
                if context is not None:
                    work(recipe, context)
        except (Exception, KeyboardInterrupt) as error:
            return report_failure(error, folder)
    return 0


def _run_one(recipe: Recipe, stage: StageName, lock: RunLock) -> int:
    if stage_stands(recipe, stage):
        _keep(recipe, stage)
        return 0
    stage_inputs(recipe, stage)
    launch = launch_settings(recipe, stage)
    resolved = str(recipe.run_folder / RESOLVED_RECIPE)  # editing the recipe while it runs changes nothing
    command = stage_command(launch, stage, [resolved], has_gpu(launch))
    _say(f"{stage}: starting ({stage_key(recipe, stage)})")
    _taken_failure(recipe)  # of a run that was killed before it could tell
    started = time.monotonic()
    environment = {**stage_environment(launch), _HELD_BY: str(os.getpid()), _STARTED: str(started)}
    try:
        status = run_process(command, environment, lock.descriptor, through_launcher=needs_launcher(launch))
    except KeyboardInterrupt:
        left = _taken_failure(recipe)
        if left is not None and left.exit_code not in (INTERRUPTED, TERMINATED):
            _say(left.message)
        raise
    left = _taken_failure(recipe)
    if left is not None:
        _say(left.message)
        return left.exit_code
    if status in (INTERRUPTED, TERMINATED):  # of the stage alone; it leaves the telling to us
        raise KeyboardInterrupt
    if status < 0:
        _say(
            f"error: {stage} was ended by signal {-status}"
            + (" (often: out of memory)" if status == -9 else "")
            + "; the same command continues"
        )
        RunFolder(recipe).end_stage(stage, time.monotonic() - started, status, None)
        return 1
    if status == 0 and not stage_stands(recipe, stage):
        _say(f"error: {stage} ended without a result in {stage_folder(recipe, stage)}")
        return 1
    if status == 0:
        _say(f"{stage}: done in {time.monotonic() - started:.0f} s")
    return status


def _check_inputs(recipe: Recipe, stage: StageName) -> None:
    """Refuse before anything is written: a folder that is made is a run of this recipe from then on."""
    if not stage_stands(recipe, stage):
        stage_inputs(recipe, stage)


def _taken_failure(recipe: Recipe) -> Failure | None:
    """What a process of the stage left for us to tell, taken away. Launchers turn every exit code into 1."""
    file = recipe.run_folder / _FAILURE_FILE
    try:
        left = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none, or one that a full disk or a kill cut short
        left = None
    file.unlink(missing_ok=True)
    return None if left is None else Failure(left["message"], left["exit_code"])


@contextmanager
def _held(recipe: Recipe, source: Source, break_lock: bool) -> Iterator[RunLock]:
    """Hold the run, and have its recipe written. Stages of a holding `xcoder run` and other ranks pass through."""
    folder = recipe.run_folder
    owner = recorded_owner(folder)
    if not _is_main_process() or (owner is not None and os.environ.get(_HELD_BY) == str(owner.pid)):
        yield None  # type: ignore[misc]
        return
    RunFolder(recipe).settings_that_changed()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder, break_stale=break_lock)
    except OSError as error:
        raise InputError(
            f"cannot write to the run's folder {folder}: {error.strerror}. Give a place that can be written: runs_dir=…"
        ) from error
    try:
        run_folder = RunFolder(recipe)
        changes = run_folder.settings_that_changed()
        if changes:
            _say("changed since this run's last start; what it touches is made anew beside the old results:")
            for change in changes:
                _say(f"  {change}")
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
    (recipe.run_folder / _FAILURE_FILE).unlink(missing_ok=True)
    run_folder.begin_stage(stage, context.key, context.folder, context.inputs)
    started = float(os.environ.get(_STARTED, time.monotonic()))
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


def stage_stands(recipe: Recipe, stage: StageName) -> bool:
    """True when the stage has nothing left to do."""
    if stage != "report":
        return is_whole(recipe, stage)
    entry = RunFolder(recipe).manifest().get("stages", {}).get("report", {})
    made = entry.get("key") == stage_key(recipe, "report") and entry.get("exit_status") == 0
    return made and (recipe.run_folder / REPORT_FILE).is_file()


def report_failure(error: Exception | KeyboardInterrupt, run_folder: Path | None) -> int:
    """Tell of an error and return its exit code. Of several processes, the first leaves it for `xcoder run` to tell."""
    failure = failure_of(error, run_folder)
    if failure.is_ours:
        print(harmless_lines(hide_forms("".join(traceback.format_exception(error)))), end="", file=sys.stderr)
    if "RANK" not in os.environ:
        if not (isinstance(error, KeyboardInterrupt) and _HELD_BY in os.environ):  # the run above tells of those
            _say(failure.message)
        return failure.exit_code
    if run_folder is None:  # the recipe, which every process of a node reads alike
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _say(failure.message)
        return failure.exit_code
    try:
        with open(run_folder / _FAILURE_FILE, "x", encoding="utf-8") as file:
            json.dump({"exit_code": failure.exit_code, "message": failure.message}, file)
        is_told_by_parent = _HELD_BY in os.environ
    except FileExistsError:
        return failure.exit_code
    except OSError:
        is_told_by_parent = False
    if not is_told_by_parent:
        _say(failure.message)
    return failure.exit_code


def _keep(recipe: Recipe, stage: StageName) -> None:
    key = stage_key(recipe, stage)
    RunFolder(recipe).keep_stage(stage, key)
    _say(f"{stage}: whole already ({key}), kept")


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _section(stage: StageName) -> str:
    return "evaluation" if stage == "report" else stage


def _say(line: str) -> None:
    print(harmless_lines(line), file=sys.stderr, flush=True)
