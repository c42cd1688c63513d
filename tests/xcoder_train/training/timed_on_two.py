"""Two processes whose clocks disagree: `MINUTES_OF_THE_FIRST MINUTES_OF_THE_SECOND`. Each prints what it decides."""

import json
import sys

import torch
from accelerate import PartialState
from transformers import TrainerControl, TrainerState

from tests.xcoder_train.training.two_processes import say
from xcoder_train.training.checkpoints import TimedCheckpoints


def main(*minutes: str) -> None:
    """Ask for a checkpoint after one step."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    control = TrainerControl()
    callback = TimedCheckpoints(float(minutes[state.process_index]))
    callback.on_step_end(None, TrainerState(global_step=1), control)  # type: ignore[arg-type]
    say(json.dumps([state.process_index, control.should_save]))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
