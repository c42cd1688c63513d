"""`xcoder slurm`: a script that submits every stage of a recipe as a Slurm job, in order. Needs no Slurm to render."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated

import typer

from xcoder_core.errors import InputError
from xcoder_core.models.folder import model_shape
from xcoder_core.settings import require
from xcoder_core.templates import filled
from xcoder_train.commands.options import Overrides, RecipePath
from xcoder_train.plan.training import GRACE_SECONDS
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import Options
from xcoder_train.runs.launch import launch_settings, launch_variables, launcher_command
from xcoder_train.stages import STAGES, StageName
from xcoder_train.training.launch_settings import LaunchSettings
from xcoder_train.training.trl_arguments import CHECKPOINTS

app = typer.Typer(rich_markup_mode=None)

_ON_EACH_NODE = ("$SLURM_NODEID", "$MASTER", "$PORT")

DEFAULT_TIME = "24:00:00"


@app.command()
def slurm(
    recipe: RecipePath,
    overrides: Overrides = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time limit of each job, in sbatch's format; 24:00:00 when left out."),
    ] = None,
    partition: Annotated[str | None, typer.Option(metavar="NAME", help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Account to charge.")] = None,
) -> None:
    """Print a script that submits every stage as a Slurm job."""
    print(slurm_script(recipe, overrides or [], time=time, partition=partition, account=account), end="")


@dataclass(frozen=True)
class _Job:
    stage: StageName
    options: Options
    command: str
    progress: str | None = None
    """Pattern of what a later start goes on from; None where every finished record is kept."""
    trains_on_several: bool = False
    """The command is run on each of the nodes, whose processes meet on the first one."""
    starts_ray: bool = False
    """The command is run on the first node of a Ray cluster of all of them."""


def slurm_script(
    recipe_path: Path, overrides: Sequence[str], *, time: str | None, partition: str | None, account: str | None
) -> str:
    """The script as text; `time`, `partition` and `account` go over the recipe's `slurm.options`.

    Raises InputError for whatever a run would refuse.
    """
    recipe = load_recipe(recipe_path, overrides)
    arguments = [str(recipe_path), *overrides]
    given = {"time": time, "partition": partition, "account": account}
    asked: Options = {name: value for name, value in given.items() if value is not None}
    values = {
        "recipe": recipe_path,
        "grace": GRACE_SECONDS,
        "setup": recipe.slurm.setup.rstrip("\n"),
        "jobs": [_job(recipe, stage, arguments, asked) for stage in recipe.stages],
    }
    filters = {"quote": lambda value: shlex.quote(str(value))}
    return filled("xcoder_train.commands", "slurm.sh.j2", values, filters)


def _job(recipe: Recipe, stage: StageName, arguments: list[str], asked: Options) -> _Job:
    launch = launch_settings(recipe, stage)
    starts_ray = _starts_ray(recipe, stage)
    options = _options(recipe, stage, launch, asked)
    nodes = options.get("nodes")
    if nodes != launch.nodes and not starts_ray:
        raise InputError(
            f"slurm asks for {nodes} nodes for {stage}, which uses {launch.nodes}: set STAGE.launch.nodes for "
            "training, or judge.executor=ray so that synthesis and evaluation judge on several"
        )
    progress = None
    if STAGES[stage].trains is not None:
        timed = recipe.slurm.model_copy(update={stage: {**getattr(recipe.slurm, stage), "time": options.get("time")}})
        if (plan := STAGES[stage].plan) is not None:  # which refuses a job that no checkpoint would be made in
            resolve_name(plan)(recipe.model_copy(update={"slurm": timed}), model_shape(recipe.model), True)
        folder = shlex.quote(str(recipe.run_folder / stage))
        progress = f"{folder}'/*/{CHECKPOINTS}/checkpoint-*'"
    command = ["xcoder", STAGES[stage].subcommand, *arguments]
    if launch.nodes > 1:
        if starts_ray:
            raise InputError(
                f"{stage} trains on {launch.nodes} nodes, and judge.executor=ray would need a cluster that is there "
                "before them: give its HOST:PORT as judge.ray_address, or let every node judge for itself with "
                "judge.executor=local"
            )
        machine = ["--num_machines", str(launch.nodes), "--machine_rank", "$SLURM_NODEID"]
        machine += ["--main_process_ip", "$MASTER", "--main_process_port", "$PORT"]
        variables = [f"{name}={value}" for name, value in launch_variables(launch).items()]
        python = ["python", *launcher_command(launch, stage, arguments, machine)[1:]]
        command = ["env", *variables, *python]
        return _Job(stage, options, _on_each_node(command), progress, trains_on_several=True)
    return _Job(stage, options, shlex.join(command), progress, starts_ray=starts_ray)


def _options(recipe: Recipe, stage: StageName, launch: LaunchSettings, asked: Options) -> Options:
    """sbatch's options of a job: the script's own; over them the recipe's, the command's, the stage's."""
    ours: Options = {
        "job-name": f"{recipe.name}-{stage}",
        "nodes": launch.nodes,
        "ntasks-per-node": 1,
        "gpus-per-node": _gpus(recipe, stage, launch) or None,
        "exclusive": stage != "report",  # which one core makes
        "time": DEFAULT_TIME,
        "output": f"{recipe.name}-{stage}-%j.log",
        "open-mode": "append",
        "requeue": True,
        "signal": f"B:USR1@{GRACE_SECONDS}",
    }
    options = {**ours, **recipe.slurm.options, **asked, **getattr(recipe.slurm, stage)}
    if options["exclusive"] and not any(name.startswith("mem") for name in options):
        options["mem"] = 0  # all of the node's: --exclusive alone gives the cluster's default for each core
    return {name: value for name, value in options.items() if value is not None and value is not False}


def _starts_ray(recipe: Recipe, stage: StageName) -> bool:
    """True where the stage judges on a Ray cluster that nobody else has started."""
    executor = recipe.judge.executor
    if stage == "synth" and recipe.synth is not None and recipe.synth.executor is not None:
        executor = recipe.synth.executor
    return STAGES[stage].judges and executor == "ray" and recipe.judge.ray_address == "auto"


def _on_each_node(words: Sequence[str]) -> str:
    """A command whose variables each node fills in for itself."""
    quoted = " ".join(f'"{word}"' if word in _ON_EACH_NODE else shlex.quote(word) for word in words)
    return f"bash -c {shlex.quote(quoted)}"


def _gpus(recipe: Recipe, stage: StageName, launch: LaunchSettings) -> int:
    """GPUs of each of the stage's machines; none for synthesis and reports, which take its cores."""
    on_machine = launch.processes // launch.nodes
    if stage in ("rates", "evaluation"):
        section = require(recipe.grpo).measuring if stage == "rates" else require(recipe.evaluation)
        generation = section.generation
        return 0 if generation.backend == "openai" else on_machine * generation.tensor_parallel
    return on_machine if STAGES[stage].trains is not None else 0
