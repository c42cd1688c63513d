"""Where a GRPO step's time goes: the seconds of its parts, the tokens of each per second, and how busy vLLM was.

One clock runs for one part at a time, and a part within another stops that one, so the parts add up to the step.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments
from trl import GRPOTrainer

from xcoder_train.grpo.vllm_gauges import NAMES, engine_gauges, watched

PARTS = ("sampling", "weight_sync", "judging", "old_logprobs", "update", "waiting", "rest")
"""`waiting` is for other processes that still sample and judge; `rest` is what remains of making rollouts."""


class StepTimes(TrainerCallback):
    """Logs `timing/PART_runtime` and `timing/PART_tokens_per_second` of each step, and `vllm/NAME_most`.

    `Groups` and the trainer say which part they are in (`during`) and how many tokens it has, the engine is asked here.
    Seconds are means over the processes, tokens those of all of them: new ones for sampling and judging, for the others
    prompts too. Outside of optimiser steps, as in an evaluation, no clock runs.
    """

    def __init__(self, trainer: GRPOTrainer) -> None:
        self.trainer = trainer
        self.seconds: dict[str, float] = defaultdict(float)
        self.tokens: dict[str, float] = defaultdict(float)
        self.most: dict[str, float] = {}
        self._part: str | None = None
        self._since = 0.0
        if trainer.use_vllm:
            engine = trainer.vllm_generation
            watch, sync = watched(engine_gauges(engine), self.most), self.during("weight_sync")
            engine.generate = watch(engine.generate)  # type: ignore[method-assign]
            engine.sync_weights = sync(engine.sync_weights)  # type: ignore[method-assign]

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Run the clock for a part, then for what it ran for before."""
        before = self._part
        self._switch(before and part)
        try:
            yield
        finally:
            self._switch(before)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        for counted in (self.seconds, self.tokens, self.most):  # an evaluation has left its own
            counted.clear()
        self._switch("update")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Write the step's figures where the trainer averages those of the steps that it logs together."""
        self._switch(None)
        accelerator, metrics = self.trainer.accelerator, self.trainer._metrics["train"]
        own = [[counted[part] for part in PARTS] for counted in (self.seconds, self.tokens)]
        seconds, tokens = accelerator.reduce(torch.tensor(own, device=accelerator.device), "sum").tolist()
        for part, taken, count in zip(PARTS, seconds, tokens, strict=True):
            mean = taken / accelerator.num_processes
            metrics[f"timing/{part}_runtime"].append(mean)
            if mean and count:
                metrics[f"timing/{part}_tokens_per_second"].append(count / mean)
        metrics["timing/step_runtime"].append(sum(seconds) / accelerator.num_processes)
        if self.trainer.use_vllm:
            most = torch.tensor([[self.most.get(name, -1.0) for name in NAMES]], device=accelerator.device)
            for name, value in zip(NAMES, accelerator.gather(most).amax(0).tolist(), strict=True):
                if value >= 0:  # some process has looked
                    metrics[f"vllm/{name}_most"].append(value)

    def _switch(self, part: str | None) -> None:
        device = self.trainer.accelerator.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # what was asked of the GPU is this part's
        now = time.monotonic()
        if self._part is not None:
            self.seconds[self._part] += now - self._since
        self._part, self._since = part, now
