"""One model and one set of documents, trained by this project's SFT path and by TRL's SFTTrainer in two set-ups.

`own` is `xcoder_train.sft` as the recipe says. `tuned` is SFTTrainer as someone who knows it would set it up: every
choice of the recipe that is an argument of TRL's. `plain` is SFTTrainer on the same documents with its own defaults
where those decide about speed: no packing, batches in random order, padded to the longest of a batch.
"""

import copy
import math
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

from xcoder_core.seeds import derive_seed
from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.sft.trainer import sft_config, sft_trainer
from xcoder_train.training.arithmetic import BatchPlan
from xcoder_train.training.optimizer import optimizer_factory
from xcoder_train.training.weights import lora_config

# What a recipe sets to be fast, and SFTTrainer does not do by itself.
_FAST_CHOICES = ("train_sampling_strategy",)

SETUPS = ("own", "tuned", "plain")


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
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(setup, model, tokenizer, examples, recipe, Path(folder))
        clock = _Clock(trainer)
        trainer.add_callback(clock.callback())
        trainer.train()
        return clock.read(float(trainer.state.log_history[-1]["train_loss"]))


def apart_on_one_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[dict[str, list[int]]],
    recipe: Recipe,
) -> dict[str, float]:
    """How far this project's loss and gradient are from SFTTrainer's on one batch, over the size of SFTTrainer's.

    Raises AssertionError where rounding cannot explain it: a path that computes something else is not a faster one.
    """
    settings = recipe.sft
    assert settings is not None
    losses, gradients = {}, {}
    for setup in ("own", "tuned"):
        with tempfile.TemporaryDirectory() as folder:
            trainer = _trainer(setup, copy.deepcopy(model), tokenizer, examples, recipe, Path(folder))
            rows = [trainer.train_dataset[index] for index in range(min(settings.micro_batch, len(examples)))]
            batch = trainer._prepare_inputs(trainer.data_collator(rows))
            loss = trainer.compute_loss(trainer.model.train(), batch)
            loss.backward()
            losses[setup] = loss.item()
            gradients[setup] = [own.grad.float() for own in trainer.model.parameters() if own.grad is not None]
    difference = sum(float((a - b).square().sum()) for a, b in zip(gradients["own"], gradients["tuned"], strict=True))
    size = sum(float(gradient.square().sum()) for gradient in gradients["tuned"])
    apart = {"loss": abs(losses["own"] / losses["tuned"] - 1), "gradient": math.sqrt(difference / size)}
    assert max(apart.values()) < (1e-5 if model.dtype == torch.float32 else 1e-2), apart
    return apart


def _trainer(
    setup: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[dict[str, list[int]]],
    recipe: Recipe,
    folder: Path,
) -> SFTTrainer:
    settings = recipe.sft
    assert settings is not None
    dataset = Dataset.from_list(list(examples))
    if setup != "own":
        return SFTTrainer(
            model=model,
            args=_arguments(recipe, folder, plain=setup == "plain"),
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=lora_config(settings.lora),
            optimizer_cls_and_kwargs=optimizer_factory(settings.optimizer, settings.training),
        )
    rows = pack_dataset(dataset, settings.max_length, "bfd") if settings.packing else dataset
    batch = BatchPlan(settings.micro_batch, 1, 1, len(dataset) / len(rows))
    context = StageContext("benchmark", "sft", "key", folder, recipe.seed, {})
    mean = sum(len(example["input_ids"]) for example in examples) / len(examples)
    return sft_trainer(settings, context, sft_config(settings, context, batch, mean), model, tokenizer, rows)


def _arguments(recipe: Recipe, folder: Path, *, plain: bool) -> SFTConfig:
    """TRL's own arguments: those of the recipe, but for what makes it fast where `plain`."""
    settings = recipe.sft
    assert settings is not None
    on_gpu = torch.cuda.is_available()
    left_out = _FAST_CHOICES if plain else ()
    values: dict[str, Any] = {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        **{name: value for name, value in settings.training.for_trl().items() if name not in left_out},
        "output_dir": str(folder),
        "seed": derive_seed(recipe.seed, "sft", "trainer") % 2**31,  # the same order of rows as in `own`
        "max_length": settings.max_length,
        "packing": settings.packing and not plain,
        "per_device_train_batch_size": settings.micro_batch,
        "use_cpu": not on_gpu,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return SFTConfig(**values)


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
