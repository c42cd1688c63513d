"""Processes that train together wait for each other as long as the recipe says."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ASK = """
import torch
from xcoder_train.training.start import join_processes
from xcoder_train.training.settings import TrainingSettings
join_processes(TrainingSettings(ddp_timeout=7200))
group = torch.distributed.group.WORLD
print(group._get_backend(torch.device("cpu")).options._timeout.total_seconds())
"""


def test_the_group_of_processes_has_the_recipes_patience() -> None:
    """transformers would set it on a group of its own, and finds this one made: torch's ten minutes would stay."""
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, **launched, "MASTER_PORT": "0", "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["7200.0"], done.stderr
