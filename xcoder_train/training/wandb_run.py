"""Weights & Biases, when a recipe asks for it: one run per stage, with the recipe and the manifest. Never needed."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from xcoder_core.files import read_object, write_text
from xcoder_core.stage import RESULT_FILE, StageContext
from xcoder_train.training.settings import TrackingSettings

_RECORDS = ("recipe.resolved.json", "manifest.json")


def start_tracking(settings: TrackingSettings, context: StageContext, config: dict[str, object]) -> list[str]:
    """Begin (or take up again) the stage's W&B run on the main process; return what `report_to` should name.

    The recipe is its config, and with the manifest an artefact of it. Offline, W&B cannot go on with a file: a start
    that resumes begins a new one, which `repeat_history` gives the steps before it, in place of the one that stopped.
    """
    if settings.wandb == "disabled":
        return []
    if int(os.environ.get("RANK", "0")) == 0:
        for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):  # else artefacts are staged in the home folder
            os.environ.setdefault(variable, str(context.folder / "wandb"))
        import wandb

        run_id = f"{context.run}-{context.name}-{context.key}"
        offline = settings.wandb == "offline"
        if offline:
            _remove_replaced(context.folder, run_id)
        wandb.setup(wandb.Settings(silent=True))  # coloured lines in a log, warnings that offline means offline
        run = wandb.init(
            project=settings.project,
            group=settings.group or context.run,
            name=f"{context.run}/{context.name}",
            job_type=context.name,
            id=run_id,
            resume=None if offline else "allow",  # without a server there is nothing that it could take up
            mode=settings.wandb,
            tags=list(settings.tags),
            config=config,
            dir=context.folder,
        )
        where = f"send it with: {sync_command(context.folder)}" if offline else run.url
        print(f"W&B: {context.name} is recorded; {where}", file=sys.stderr)
        write_text(context.folder / "wandb_run_id", run_id + "\n")
        records = wandb.Artifact(f"{context.run}-records", type="recipe")
        for file in _records(context.folder):
            records.add_file(str(file))
        run.log_artifact(records)
    return ["wandb"]


def sync_command(folder: Path | str) -> str:
    """The command that sends a stage's offline files as one run."""
    quoted = shlex.quote(str(folder))
    return f'wandb sync --id "$(cat {quoted}/wandb_run_id)" {quoted}/wandb/offline-run-*'


def repeat_history(folder: Path, lines: list[dict[str, object]]) -> None:
    """Log the steps that a resumed training does not make again; does nothing but in the main process and offline.

    With them, one file holds the run from its first step to its last, each once. `lines` are those of `metrics.jsonl`.
    """
    import wandb
    from transformers.integrations import rewrite_logs

    run = wandb.run
    if run is None or not run.offline or _offline_folders(folder, run.id)[:-1]:
        return
    for line in lines:
        step = line.pop("step")
        run.log({**rewrite_logs(line), "train/global_step": step})  # as transformers' callback logs them


def _remove_replaced(folder: Path, run_id: str) -> None:
    """Remove the files of earlier starts. One that was sent to a server stays, and with it all that follow it."""
    earlier = _offline_folders(folder, run_id)
    if not any(list(place.glob("*.wandb.synced")) for place in earlier):
        for place in earlier:
            shutil.rmtree(place)


def _offline_folders(folder: Path, run_id: str) -> list[Path]:
    """The folders that offline starts of this run have left, in their order."""
    return sorted((folder / "wandb").glob(f"offline-run-*-{run_id}"))


def track_synthesis(context: StageContext) -> None:
    """A W&B run of a finished synthesis: its funnel, a language model's tokens, and the seconds, as summary."""
    if not context.start_tracking(context):
        return
    import wandb

    run = wandb.run
    assert run is not None  # begun just above; synthesis is one process
    figures = read_object(context.folder / RESULT_FILE)
    seconds = read_object(context.folder / "timings.json")  # an import leaves none
    run.summary.update({"funnel": figures["funnel"], "usage": figures.get("usage", {}), "seconds": seconds})
    run.finish()


def _records(folder: Path) -> list[Path]:
    """The run's records, from the nearest folder above the stage's that has them."""
    for above in (folder, *folder.parents):
        found = [above / name for name in _RECORDS if (above / name).is_file()]
        if found:
            return found
    return []
