"""Starting a module on two processes, as a machine with two GPUs would, but on the CPU over gloo."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def run_on_two_processes(module: str, *arguments: str, **environment: str) -> str:
    """What the module said; an AssertionError with its words where it failed.

    `accelerate launch --cpu` would start one process whatever is asked of it, so the module must check its world size.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def say(line: str) -> None:
    """Print a line that stays whole: torchrun starts Python unbuffered, and `print` then writes a line in two parts."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
