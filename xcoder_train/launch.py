"""How a stage becomes processes of its own: the command line, the environment, and waiting for it."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from xcoder_train.config import LaunchSettings
from xcoder_train.core.parent_death import die_with_parent
from xcoder_train.recipe import Recipe, StageName

MODULES: dict[StageName, str] = {
    "synth": "xcoder_train.synthesise",
    "sft": "xcoder_train.sft",
    "grpo": "xcoder_train.grpo",
    "evaluation": "xcoder_train.evaluate",
    "report": "xcoder_train.report",
}
_SECONDS_TO_STOP = 30


def launch_settings(recipe: Recipe, stage: StageName) -> LaunchSettings:
    """The stage's `launch:`; the defaults for stages that are one process."""
    section = getattr(recipe, stage)
    return getattr(section, "launch", LaunchSettings())


def stage_command(launch: LaunchSettings, stage: StageName, arguments: Sequence[str], has_gpu: bool) -> list[str]:
    """The command line of a stage: plain Python for one process, else a launcher."""
    module = ["-m", MODULES[stage], *arguments]
    if launch.processes == 1 and launch.accelerate is None:
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


def run_process(command: Sequence[str], environment: Mapping[str, str], keep_open: int) -> int:
    """Run to the end and return the exit status (negative for a signal). The child dies when this process does.

    An interrupt reaches the child from the terminal; a SIGTERM to this process is handed on.
    """
    parent = os.getpid()
    child = subprocess.Popen(
        command, env=environment, pass_fds=(keep_open,), preexec_fn=lambda: die_with_parent(parent)
    )

    def hand_on(number: int, frame: FrameType | None) -> None:
        child.terminate()
        raise SystemExit(128 + number)  # waiting in here would wait for the wait that it interrupts

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        return child.wait()
    except (KeyboardInterrupt, SystemExit):
        try:
            child.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def shown_command(command: Sequence[str]) -> str:
    """The command as one could type it."""
    return shlex.join(command)
