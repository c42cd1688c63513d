"""Where a GRPO step's time goes: the seconds of its parts, the tokens of each per second, and how busy vLLM was.

One clock runs for one part at a time, and a part within another stops that one, so the parts add up to the step.
"""

import re
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments
from trl import GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

PARTS = ("sampling", "weight_sync", "judging", "old_logprobs", "update", "waiting", "rest")
"""`waiting` is for other processes that still sample and judge; `rest` is what remains of making rollouts."""

Look = Callable[[], dict[str, float]]
GAUGES = {"cache_use": "vllm:kv_cache_usage_perc", "waiting": "vllm:num_requests_waiting"}
"""What is looked at of vLLM, by what a server's `/metrics` calls it: a share, and a number of rollouts."""


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
            most = torch.tensor([[self.most.get(name, -1.0) for name in GAUGES]], device=accelerator.device)
            for name, value in zip(GAUGES, accelerator.gather(most).amax(0).tolist(), strict=True):
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


def engine_gauges(engine: VLLMGeneration) -> Look:
    """What looks at the engine; at nothing in a process that asks no server itself."""
    if engine.mode == "server":
        return partial(server_gauges, engine.vllm_client.base_url) if engine.accelerator.is_main_process else dict
    scheduler = engine.llm.llm_engine.engine_core.engine_core.scheduler  # vLLM keeps no statistics for TRL
    return lambda: {"cache_use": scheduler.kv_cache_manager.usage, "waiting": len(scheduler.waiting)}


def server_gauges(url: str) -> dict[str, float]:
    """What a server's `/metrics` says, of several engines the largest; {} where it does not answer at once."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found = {name: re.findall(rf"^{theirs}(?:{{.*}})? (\S+)$", text, re.MULTILINE) for name, theirs in GAUGES.items()}
    return {name: max(map(float, values)) for name, values in found.items() if values}


@contextmanager
def watched(look: Look, most: dict[str, float]) -> Iterator[None]:
    """Look every second while the block runs, more often at first, and keep the largest values in `most`."""
    over = threading.Event()

    def watch() -> None:
        is_over, pause = False, 0.01
        while not is_over:
            most.update({name: max(most.get(name, 0.0), value) for name, value in look().items()})
            is_over, pause = over.wait(pause), min(2 * pause, 1.0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
