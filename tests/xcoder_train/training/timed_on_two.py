"""Two processes whose clocks disagree, twice: `MINUTES MINUTES`, then the other way. Each prints what it decides."""

import json
import sys

import torch
from accelerate import PartialState
from transformers import TrainerControl, TrainerState

from tests.xcoder_train.training.two_processes import say
from xcoder_train.training.checkpoints import TimedCheckpoints


def main(*minutes: str) -> None:
    """Ask for a checkpoint after one step, with the minutes of each process and then with those of the other."""
    state = PartialState(cpu=True)
    assert state.num_processes == len(minutes) == 2
    decided = []
    for own in (state.process_index, 1 - state.process_index):
        control = TrainerControl()
        callback = TimedCheckpoints(float(minutes[own]))
        callback.on_step_end(None, TrainerState(global_step=1), control)  # type: ignore[arg-type]
        decided.append(control.should_save)
    say(json.dumps([state.process_index, decided]))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
