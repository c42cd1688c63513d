"""How a stage becomes processes of its own: the command line, the environment, and waiting for it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from xcoder_train.config import LaunchSettings
from xcoder_train.core.interrupts import block_interrupts, interrupt_stage
from xcoder_train.core.parent_death import die_with_parent
from xcoder_train.recipe import Recipe, StageName

MODULES: dict[StageName, str] = {
    "synth": "xcoder_train.synthesise",
    "sft": "xcoder_train.sft",
    "grpo": "xcoder_train.grpo",
    "evaluation": "xcoder_train.evaluate",
    "report": "xcoder_train.report",
}


def launch_settings(recipe: Recipe, stage: StageName) -> LaunchSettings:
    """The stage's `launch:`; the defaults for stages that are one process."""
    section = getattr(recipe, stage)
    return getattr(section, "launch", LaunchSettings())


def needs_launcher(launch: LaunchSettings) -> bool:
    """True when the stage's processes are started by accelerate or torchrun, not by us."""
    return launch.processes > 1 or launch.accelerate is not None


def stage_command(launch: LaunchSettings, stage: StageName, arguments: Sequence[str], has_gpu: bool) -> list[str]:
    """The command line of a stage: plain Python for one process, else a launcher."""
    module = ["-m", MODULES[stage], *arguments]
    if not needs_launcher(launch):
        return [sys.executable, *module]
    processes = str(launch.processes)
    if not has_gpu:
        # `accelerate launch --cpu` starts one process whatever is asked of it; torchrun starts them all.
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes, *module]
    config = [] if launch.accelerate is None else ["--config_file", str(launch.accelerate)]
    several = ["--multi_gpu"] if launch.accelerate is None else []
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    return [*launcher, *config, *several, "--num_processes", processes, *module]


def stage_environment(launch: LaunchSettings) -> dict[str, str]:
    """This process's environment with what `launch` sets."""
    environment = dict(os.environ)
    if launch.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, launch.gpus))
    if launch.threads is not None:
        environment["OMP_NUM_THREADS"] = str(launch.threads)
    return {**environment, **launch.environment}


def has_gpu(launch: LaunchSettings) -> bool:
    """True when the stage's processes would see an NVIDIA GPU; asks the driver's files, not torch."""
    hidden = stage_environment(launch).get("CUDA_VISIBLE_DEVICES")
    return hidden not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


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


def shown_command(command: Sequence[str]) -> str:
    """The command as one could type it."""
    return shlex.join(command)
