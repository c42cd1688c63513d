"""How fast SFT goes: tokens per second and device, MFU, and the device's peak memory, as metrics of every step."""

import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments
from trl import SFTTrainer

from xcoder_train.training.model_flops import peak_flops


class Throughput(TrainerCallback):
    """Adds `tokens_per_second` and, where they can be known, `mfu` and `peak_memory_gib` to what the trainer logs.

    Tokens are those that TRL counts, without padding, over all processes; per second and device. Time that goes into
    checkpoints and between training's start and its first step counts, as it does on the bill.
    """

    def __init__(self, trainer: SFTTrainer, flops_per_token: float | None, peak_tflops: float | None) -> None:
        self.trainer = trainer
        self.flops_per_token = flops_per_token
        self.peak = None if peak_tflops is None else peak_tflops * 1e12
        if self.peak is None and torch.cuda.is_available():
            self.peak = peak_flops(torch.cuda.get_device_name())
        self._begun = self._step_begun = 0.0
        self._tokens_at_start = self._tokens = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Start the clock at the tokens that a checkpoint brings along; `TokenCount` must come before."""
        self._begun = self._step_begun = time.monotonic()
        self._tokens_at_start = self._tokens = int(self.trainer._total_train_tokens)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Measure the step; the trainer averages over the steps that it logs together."""
        now, tokens = time.monotonic(), int(self.trainer._total_train_tokens)
        metrics = self.trainer._metrics["train"]
        for name, value in self._rates(tokens - self._tokens, now - self._step_begun).items():
            metrics[name].append(value)
        self._step_begun, self._tokens = now, tokens

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Leave the seconds of an evaluation out; its tokens are not counted either."""
        seconds = kwargs["metrics"]["eval_runtime"]
        self._begun, self._step_begun = self._begun + seconds, self._step_begun + seconds

    def over_all(self) -> dict[str, float]:
        """The same figures over everything that this process trained; empty when it trained nothing."""
        tokens = self._tokens - self._tokens_at_start
        return self._rates(tokens, self._step_begun - self._begun) if tokens else {}

    def _rates(self, tokens: int, seconds: float) -> dict[str, float]:
        rate = tokens / seconds / self.trainer.accelerator.num_processes
        figures = {"tokens_per_second": rate}
        if self.flops_per_token is not None and self.peak is not None:
            figures["mfu"] = rate * self.flops_per_token / self.peak
        if torch.cuda.is_available():
            figures["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return figures
