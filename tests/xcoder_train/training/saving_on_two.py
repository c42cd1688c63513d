"""GRPO over two processes, of which the second dies before it has saved its part of the first checkpoint: `FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import GRPOTrainer

from tests.xcoder_train.training.tiny_grpo import prompt_rows, tiny_model, tiny_trainer
from xcoder_train.training.checkpoints import train_from_newest


class DyingTrainer(GRPOTrainer):
    """In the second process it dies a while after the first one had all of its own part to write."""

    def _save_rng_state(self, output_dir: str) -> None:
        if self.accelerator.process_index == 1:
            time.sleep(2)
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save_rng_state(output_dir)


def _roll_out(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    return {"prompt_ids": [[1, 2]] * len(prompts), "completion_ids": [[3]] * len(prompts), "logprobs": None}


def main(folder: str) -> None:
    """Train one step, and save."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    arguments = {
        "per_device_train_batch_size": 2,
        "num_generations": 2,
        "max_completion_length": 4,
        "max_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    trainer = tiny_trainer(
        DyingTrainer,
        Path(folder) / "checkpoints",
        tiny_model(["a", "b"]),
        arguments,
        reward_funcs=lambda prompts, **_: [0.0] * len(prompts),
        train_dataset=prompt_rows(["a", "b"]),
        rollout_func=_roll_out,
    )
    train_from_newest(trainer, state, Path(folder), resume=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
