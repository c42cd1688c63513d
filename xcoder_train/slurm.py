"""`xcoder slurm`: a script that submits every stage of a recipe as a Slurm job, in order. Needs no Slurm to render."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from xcoder_train.launch import launch_settings, launcher_command
from xcoder_train.recipe import Recipe, StageName, load_recipe

_COMMANDS: dict[StageName, str] = {"evaluation": "eval"}


GRACE_SECONDS = 120
"""Before a job's time is up, its stage is told to end; more than a stage is given for it (`SECONDS_TO_STOP`)."""


@dataclass(frozen=True)
class _Job:
    stage: StageName
    nodes: int
    gpus: int
    command: str


def slurm_script(
    recipe_path: Path, overrides: Sequence[str], *, time: str, partition: str | None, account: str | None
) -> str:
    """The script as text. Raises InputError for whatever a run would refuse."""
    recipe = load_recipe(recipe_path, overrides)
    arguments = [str(recipe_path), *overrides]
    environment = Environment(
        loader=PackageLoader("xcoder_train", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("slurm.sh.j2").render(
        recipe=recipe_path,
        name=recipe.name,
        time=time,
        grace=GRACE_SECONDS,
        partition=partition,
        account=account,
        jobs=[_job(recipe, stage, arguments) for stage in recipe.stages],
    )


def _job(recipe: Recipe, stage: StageName, arguments: list[str]) -> _Job:
    launch = launch_settings(recipe, stage)
    if launch.nodes == 1:
        command = shlex.join(["xcoder", _COMMANDS.get(stage, stage), *arguments])
        return _Job(stage, 1, _gpus(recipe, stage), command)
    machine = ["--num_machines", str(launch.nodes), "--machine_rank", "$SLURM_NODEID", "--main_process_ip", "$MASTER"]
    words = ["python", *launcher_command(launch, stage, arguments, machine)[1:]]
    # The two variables are filled in on each node, so they stay outside the quotes of their words.
    command = " ".join(word if word in ("$SLURM_NODEID", "$MASTER") else shlex.quote(word) for word in words)
    return _Job(stage, launch.nodes, _gpus(recipe, stage), shlex.quote(command))


def _gpus(recipe: Recipe, stage: StageName) -> int:
    """GPUs of each of the stage's machines; none for synthesis and reports, which take its cores."""
    launch = launch_settings(recipe, stage)
    on_machine = launch.processes // launch.nodes
    if stage == "evaluation" and recipe.evaluation is not None:
        generation = recipe.evaluation.generation
        return 0 if generation.backend == "openai" else on_machine * generation.tensor_parallel
    return on_machine if stage in ("sft", "grpo") else 0
