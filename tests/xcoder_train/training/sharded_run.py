"""The SFT stage under FSDP2 on the CPU; its logits before saving are written down.

Run by torchrun as `python -m tests.xcoder_train.training.sharded_run RECIPE LOGITS`. accelerate shards on accelerators
only: for it, the two processes are called GPUs once the arguments are made. Everything else is its own.
"""

import sys
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from xcoder_train.runs.stage import main
from xcoder_train.sft import trainer as sft

PROBE = torch.arange(6, 60)[None]


class ShardedTrainer(sft.HeldOutSftTrainer):
    """SFT's trainer with a model that is cut over both processes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        PartialState().distributed_type = DistributedType.MULTI_GPU
        super().__init__(*args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and ask the sharded model for its logits."""
        result = super().train(*args, **kwargs)
        assert isinstance(self.model, FSDPModule)
        assert self.accelerator.num_processes == 2
        assert all(type(parameter).__name__ == "DTensor" for parameter in self.model.parameters())
        self.model.eval()
        with torch.no_grad():
            logits = self.model(input_ids=PROBE, use_cache=False).logits
        if self.accelerator.is_main_process:
            torch.save(logits, sys.argv[2])
        return result


if __name__ == "__main__":
    sft.HeldOutSftTrainer = ShardedTrainer
    sys.exit(main(["sft", sys.argv[1]]))
