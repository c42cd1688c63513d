"""The SFT stage with its model sharded by FSDP2 over CPU processes: `torchrun … sharded_on_cpu.py FILE RECIPE`.

accelerate shards over devices only and would take CPU processes for plain data parallelism. Here they are told to be a
device's, which changes nothing but that; gloo carries the collectives. The sharding comes from the shipped file.
"""

import os
import sys
from typing import Any

import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType

configuration, *arguments = sys.argv[1:]
with open(configuration) as file:
    sharding = yaml.safe_load(file)["fsdp_config"]
os.environ["ACCELERATE_USE_FSDP"] = "true"
os.environ.update({name.upper(): str(value) for name, value in sharding.items()})

_own = PartialState.__init__


def _as_devices(self: PartialState, *given: Any, **named: Any) -> None:
    _own(self, *given, **named)
    if self.distributed_type is DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


PartialState.__init__ = _as_devices  # type: ignore[method-assign]

from torch.distributed.tensor import DTensor  # noqa: E402
from transformers import Trainer  # noqa: E402

from xcoder_train.runs.stage import main  # noqa: E402

_save = Trainer.save_model


def _checked(self: Trainer, *given: Any, **named: Any) -> None:
    """Refuse a run that was not sharded after all, and say so on both processes."""
    assert self.accelerator.distributed_type is DistributedType.FSDP and self.accelerator.is_fsdp2
    assert self.accelerator.num_processes == 2
    whole = [name for name, parameter in self.model.named_parameters() if not isinstance(parameter, DTensor)]
    assert not whole, whole
    print("sharded on", self.accelerator.process_index, flush=True)
    _save(self, *given, **named)


Trainer.save_model = _checked  # type: ignore[method-assign]
sys.exit(main(["sft", *arguments]))
