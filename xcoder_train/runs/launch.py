"""How a stage becomes processes of its own: the command line, the environment, and waiting for it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.interrupts import block_interrupts, interrupt_stage
from xcoder_core.parent_death import die_with_parent
from xcoder_core.settings import require
from xcoder_train.recipe.schema import Recipe
from xcoder_train.stages import STAGES, StageName
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, distribution


def launch_settings(recipe: Recipe, stage: StageName) -> LaunchSettings:
    """The stage's `launch:`; the defaults for stages that are one process."""
    section = require(recipe.grpo).measuring if stage == "rates" else getattr(recipe, stage)
    return getattr(section, "launch", LaunchSettings())


def needs_launcher(launch: LaunchSettings) -> bool:
    """True when the stage's processes are started by accelerate or torchrun, not by us."""
    return launch.processes > 1 or launch.accelerate is not None


def stage_command(launch: LaunchSettings, stage: StageName, arguments: Sequence[str], has_gpu: bool) -> list[str]:
    """The command line of a stage: plain Python for one process, else a launcher.

    Raises EnvironmentLacks for a sharded model without GPUs and for several machines, which only a scheduler has.
    """
    if launch.nodes > 1:
        raise EnvironmentLacks(
            f"{stage}.launch.nodes = {launch.nodes} machines are started by a scheduler: xcoder slurm RECIPE | bash"
        )
    module = ["-m", *STAGES[stage].command, *arguments]
    if not needs_launcher(launch):
        return [sys.executable, *module]
    if not has_gpu:
        if (kind := distribution(launch)) in SHARDING:  # accelerate would keep a whole model in every process
            raise EnvironmentLacks(
                f"{stage}.launch.accelerate = {launch.accelerate} shards the model over GPUs ({kind}), and this "
                "machine shows none. Run it where there are GPUs, or launch with recipes/accelerate/cpu.yaml."
            )
        # `accelerate launch --cpu` starts one process whatever is asked of it; torchrun starts them all.
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(launch.processes)]
        return [sys.executable, *torchrun, *module]
    return launcher_command(launch, stage, arguments)


def launcher_command(
    launch: LaunchSettings, stage: StageName, arguments: Sequence[str], machine: Sequence[str] = ()
) -> list[str]:
    """`accelerate launch` for the stage; `machine` says which of several machines this is."""
    config = [] if launch.accelerate is None else ["--config_file", str(launch.accelerate)]
    several = ["--multi_gpu"] if launch.accelerate is None else []
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    processes = ["--num_processes", str(launch.processes)]
    return [*launcher, *config, *several, *processes, *machine, "-m", *STAGES[stage].command, *arguments]


def stage_environment(launch: LaunchSettings) -> dict[str, str]:
    """This process's environment with what `launch` sets."""
    return {**os.environ, **launch_variables(launch)}


def launch_variables(launch: LaunchSettings) -> dict[str, str]:
    """The environment variables that `launch` sets."""
    variables = {}
    if launch.gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, launch.gpus))
    if launch.threads is not None:
        variables["OMP_NUM_THREADS"] = str(launch.threads)
    return {**variables, **launch.environment}


def has_gpu(launch: LaunchSettings) -> bool:
    """True when the stage's processes would see an NVIDIA GPU; asks the driver's files, not torch."""
    hidden = stage_environment(launch).get("CUDA_VISIBLE_DEVICES")
    return hidden not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


def take_own_gpus(each: int) -> None:
    """Hide all GPUs from this process but its own `each`, where a launcher started several on this node.

    For libraries that know nothing of each other's processes; CUDA must not have been initialised yet. Raises
    InputError where there are too few.
    """
    here, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    devices = shown.split(",") if shown is not None else [str(number) for number in range(count)]
    if processes == 1 or not count or shown in ("", "-1"):
        return
    if len(devices) < processes * each:
        raise InputError(
            f"{processes} processes of {each} GPU(s) each need {processes * each}; this machine shows {len(devices)}"
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices[here * each : (here + 1) * each])


def run_process(
    command: Sequence[str], environment: Mapping[str, str], keep_open: int, *, through_launcher: bool
) -> int:
    """Run to the end and return the exit status (negative for a signal). The child dies when this process does.

    An interrupt (KeyboardInterrupt, `Terminated`) ends the child's work in order and goes on its way.
    """
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        block_interrupts()

    child = subprocess.Popen(command, env=environment, pass_fds=(keep_open,), preexec_fn=prepare)
    try:
        return child.wait()
    except KeyboardInterrupt:
        interrupt_stage(child, through_launcher=through_launcher)
        raise
