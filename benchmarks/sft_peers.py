"""One model and one set of documents, trained by this project's SFT path and by TRL's SFTTrainer in two set-ups.

`own` is `xcoder_train.sft` as the recipe says. `packed` is SFTTrainer as someone who knows it would set it up: the same
packing, precision, checkpointing and micro-batch. `plain` is SFTTrainer on the same documents with its own defaults
where those decide about speed: no packing, padding to the longest of a batch.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer, pack_dataset

from xcoder_train.batching import BatchPlan
from xcoder_train.core.stage import StageContext
from xcoder_train.recipe import Recipe
from xcoder_train.sft import sft_config, sft_trainer

# What a recipe of this project sets to be fast, and a plain SFTTrainer does not have by itself.
_OWN_CHOICES = ("train_sampling_strategy",)

SETUPS = ("own", "packed", "plain")


@dataclass(frozen=True)
class Trained:
    """What some steps took. `tokens` are real ones, padding not counted; memory is 0 on a CPU."""

    tokens: int
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    final_loss: float


def documents(count: int, length: int, vocabulary: int, seed: int) -> list[dict[str, list[int]]]:
    """Examples of random tokens whose lengths, over the row's, are spread as in X-Coder's data.

    There the mean is 18,400 tokens with the prompt and the deviation 7,300, at rows of 32,768; 4 % are prompt.
    """
    drawn = random.Random(seed)
    made = []
    for _ in range(count):
        size = min(length, max(8, round(drawn.gauss(0.56, 0.22) * length)))
        tokens = [drawn.randrange(10, vocabulary) for _ in range(size)]
        prompt = max(1, size // 25)
        made.append({"input_ids": tokens, "labels": [-100] * prompt + tokens[prompt:]})
    return made


def train(
    setup: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[dict[str, list[int]]],
    recipe: Recipe,
) -> Trained:
    """Train `training.max_steps` steps of `sft.micro_batch` rows on one device; the first one is not counted."""
    settings = recipe.sft
    assert settings is not None
    dataset = Dataset.from_list(list(examples))
    with tempfile.TemporaryDirectory() as folder:
        if setup == "own":
            rows = pack_dataset(dataset, settings.max_length, "bfd") if settings.packing else dataset
            batch = BatchPlan(settings.micro_batch, 1, 1, len(dataset) / len(rows))
            context = StageContext("benchmark", "sft", "key", Path(folder), recipe.seed, {})
            mean = sum(len(example["input_ids"]) for example in examples) / len(examples)
            config = sft_config(recipe, context, batch, mean)
            trainer: SFTTrainer = sft_trainer(recipe, context, config, model, tokenizer, rows)
        else:
            trainer = SFTTrainer(
                model=model,
                args=_arguments(recipe, Path(folder), packing=setup == "packed"),
                train_dataset=dataset,
                processing_class=tokenizer,
                peft_config=_adapters(recipe),
            )
        clock = _Clock(trainer)
        trainer.add_callback(clock.callback())
        trainer.train()
        return clock.read(float(trainer.state.log_history[-1]["train_loss"]))


def _arguments(recipe: Recipe, folder: Path, *, packing: bool) -> SFTConfig:
    """TRL's own arguments; what decides about speed is what the recipe gives its own path, but for `packing`."""
    settings = recipe.sft
    assert settings is not None
    on_gpu = torch.cuda.is_available()
    values: dict[str, Any] = {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        **{name: value for name, value in settings.training.items() if name not in _OWN_CHOICES},
        "output_dir": str(folder),
        "max_length": settings.max_length,
        "packing": packing,
        "per_device_train_batch_size": settings.micro_batch,
        "use_cpu": not on_gpu,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return SFTConfig(**values)


def _adapters(recipe: Recipe) -> Any:
    from xcoder_train.model import lora_config

    return None if recipe.sft is None else lora_config(recipe.sft.lora)


class _Clock:
    """Counts from the end of the first step, which pays for kernels, caches and the optimiser's state."""

    def __init__(self, trainer: SFTTrainer) -> None:
        self.trainer = trainer
        self.tokens, self.seconds, self.cpu_seconds = 0, 0.0, 0.0

    def callback(self) -> Any:
        """What the trainer calls after every step."""
        from transformers import TrainerCallback

        clock = self

        class AfterFirstStep(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                if state.global_step == 1:
                    clock.tokens, clock.seconds, clock.cpu_seconds = clock._now()

        return AfterFirstStep()

    def read(self, final_loss: float) -> Trained:
        """What the steps after the first took."""
        tokens, seconds, cpu_seconds = self._now()
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        return Trained(tokens - self.tokens, seconds - self.seconds, cpu_seconds - self.cpu_seconds, memory, final_loss)

    def _now(self) -> tuple[int, float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return int(self.trainer._total_train_tokens), time.perf_counter(), time.process_time()
