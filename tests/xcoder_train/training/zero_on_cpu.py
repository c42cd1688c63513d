"""The SFT stage under DeepSpeed on CPU processes: `torchrun … zero_on_cpu.py FILE RECIPE`.

FILE is an `accelerate launch` configuration; what that launcher makes of it is set here, since it starts no processes
on a CPU. gloo carries the collectives.
"""

import os
import sys
from typing import Any

import yaml

configuration, *arguments = sys.argv[1:]
with open(configuration) as file:
    zero = yaml.safe_load(file)["deepspeed_config"]
os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
os.environ.update({f"ACCELERATE_DEEPSPEED_{name.upper()}": str(value).lower() for name, value in zero.items()})
os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed  # noqa: E402
from transformers import Trainer  # noqa: E402

from xcoder_train.runs.stage import main  # noqa: E402

# Would be compiled on first use, for minutes; gloo does without.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

_save = Trainer.save_model


def _checked(self: Trainer, *given: Any, **named: Any) -> None:
    """Refuse a run that was not sharded after all, and say so on both processes."""
    assert self.accelerator.num_processes == 2
    assert self.model_wrapped.zero_optimization_stage() == 3
    held = sum(parameter.ds_tensor.numel() for parameter in self.model.parameters())
    whole = sum(parameter.ds_numel for parameter in self.model.parameters())
    assert 0.4 < held / whole < 0.6, (held, whole)
    stepped_by = type(self.model_wrapped.optimizer.optimizer).__name__
    assert (stepped_by == "DeepSpeedCPUAdam") == (zero["offload_optimizer_device"] == "cpu"), stepped_by
    print("sharded on", self.accelerator.process_index, flush=True)
    _save(self, *given, **named)


Trainer.save_model = _checked  # type: ignore[method-assign]
sys.exit(main(["sft", *arguments]))
