"""What training shows while it runs: `metrics.jsonl` in the stage's folder, tokens and their speed, the bar."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments
from trl import SFTTrainer

from xcoder_core.files import write_text
from xcoder_core.terminal import Progress
from xcoder_train.training.arithmetic import peak_flops
from xcoder_train.training.wandb_run import repeat_history

Line = Mapping[str, float]
"""What the trainer logs at one step, by the metric's name."""


class MetricsFile(TrainerCallback):
    """Appends every logged step to `metrics.jsonl`; after a resume, steps that will be made again are cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Keep the lines up to the step that training goes on from."""
        # The recipe's, not those of a checkpoint from before.
        state.eval_steps = int(args.eval_steps or state.eval_steps)
        if state.is_world_process_zero:
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            # A start without a checkpoint makes everything again, the evaluation before the first step too.
            kept = [line for line in lines if state.global_step and _step_of(line) <= state.global_step]
            write_text(self.path, "".join(line + "\n" for line in kept))
            if "wandb" in (args.report_to or []):
                repeat_history(self.path.parent, [json.loads(line) for line in kept])

    def on_log(
        self, args: TrainingArguments, state: TrainerState, *_: object, logs: Line | None = None, **kwargs: object
    ) -> None:
        """Write one line: the step and what was logged at it.

        The Trainer's closing summary is left out: it belongs to no step, and after a resume its mean loss is wrong.
        """
        if state.is_world_process_zero and logs and "train_runtime" not in logs:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


class TokenCount(TrainerCallback):
    """Keeps the tokens that TRL's SFTTrainer counts in the checkpoint; it would count from zero after a resume."""

    def __init__(self, trainer: SFTTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        self.trainer._total_train_tokens = state.num_input_tokens_seen

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        state.num_input_tokens_seen = self.trainer._total_train_tokens


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

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Start the clock at the tokens that a checkpoint brings along; `TokenCount` must come before."""
        self._begun = self._step_begun = time.monotonic()
        self._tokens_at_start = self._tokens = int(self.trainer._total_train_tokens)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        """Measure the step; the trainer averages over the steps that it logs together."""
        now, tokens = time.monotonic(), int(self.trainer._total_train_tokens)
        metrics = self.trainer._metrics["train"]
        for name, value in self._rates(tokens - self._tokens, now - self._step_begun).items():
            metrics[name].append(value)
        self._step_begun, self._tokens = now, tokens

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, *_: object, metrics: Line | None = None, **kwargs: object
    ) -> None:
        """Leave the seconds of an evaluation out; its tokens are not counted either."""
        seconds = (metrics or {})["eval_runtime"]
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


class Clock(TrainerCallback):
    """The seconds of a stage over all its starts, noted beside its checkpoints at every step."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seconds.json"
        self.begun = time.monotonic() - (json.loads(self.file.read_text()) if self.file.exists() else 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        if state.is_world_process_zero:
            write_text(self.file, str(self.seconds()))

    def seconds(self) -> float:
        """What earlier starts and this one have taken."""
        return round(time.monotonic() - self.begun, 1)


class TrainingProgress(TrainerCallback):
    """Shows the optimiser steps with the latest value of one metric, in place of the Trainer's own bar."""

    def __init__(self, what: str, metric: str) -> None:
        self.what, self.metric = what, metric
        self.progress: Progress | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        if state.is_world_process_zero:
            self.progress = Progress(self.what, state.max_steps, "steps", done=state.global_step).__enter__()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        if self.progress is not None:
            self.progress.advance()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, *_: object, logs: Line | None = None, **kwargs: object
    ) -> None:
        if self.progress is not None and logs and logs.get(self.metric) is not None:
            self.progress.advance(0, note=f"{self.metric} {logs[self.metric]:.4g}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, *_: object, **kwargs: object) -> None:
        if self.progress is not None:
            self.progress.__exit__()


def _step_of(line: str) -> float:
    """A torn last line counts as beyond every step."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")
