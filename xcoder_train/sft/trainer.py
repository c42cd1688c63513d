"""TRL's SFTTrainer as a recipe has it: its arguments, and a held-out loss that leaves the training alone."""

import math
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from xcoder_core.share import context_parallel_size
from xcoder_core.stage import StageContext
from xcoder_train.sft.data import IGNORED
from xcoder_train.sft.forward import attend_within_examples, score_supervised_tokens
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.arithmetic import BatchPlan
from xcoder_train.training.optimizer import optimizer_factory
from xcoder_train.training.tracking import MetricsFile, TokenCount, TrainingProgress
from xcoder_train.training.trl_arguments import built, decided_arguments, default_arguments
from xcoder_train.training.weights import lora_config


class HeldOutSftTrainer(SFTTrainer):
    """SFTTrainer whose evaluations change no random number of the training, and weigh every supervised token alike."""

    eval_dataset: Dataset
    mean_supervised_tokens: float

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As TRL; torch draws a number for each pass over data, which the training would miss."""
        counts = [sum(label != IGNORED for label in labels) for labels in self.eval_dataset["labels"]]
        self.mean_supervised_tokens = sum(counts) / len(counts)
        with torch.random.fork_rng(devices=[]):
            return super().evaluate(*args, **kwargs)

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The loss of one solution, weighed by its tokens: the Trainer averages over solutions."""
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        weight = (inputs["labels"] != IGNORED).sum() / self.mean_supervised_tokens
        return loss * weight, logits, labels


def sft_config(settings: SftSettings, context: StageContext, batch: BatchPlan, tokens_per_example: float) -> SFTConfig:
    """The arguments of SFT. Begins the stage's W&B run where the recipe asks for one."""
    arguments: dict[str, object] = {
        **default_arguments(),
        **settings.training.for_trl(),
        **decided_arguments(context, "sft", batch),
        "max_length": settings.max_length,
        "packing": settings.packing,
        "pad_to_multiple_of": 2 * context_parallel_size() if context_parallel_size() > 1 else None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    if settings.evaluation is not None:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": settings.evaluation.every_steps,
            "per_device_eval_batch_size": 1,  # so that the loss depends on no padding and on no number of processes
        }
    if settings.tokens is not None:
        arguments["max_steps"] = math.ceil(settings.tokens / (batch.examples_per_step * tokens_per_example))
    return built(SFTConfig, "sft", arguments)


def sft_trainer(
    settings: SftSettings,
    context: StageContext,
    config: SFTConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    held_out: Dataset | None = None,
) -> HeldOutSftTrainer:
    """TRL's trainer as the settings have it, on rows of token ids."""
    if settings.packing:
        attend_within_examples(model)
    trainer = HeldOutSftTrainer(
        model=model,
        args=config,
        train_dataset=dataset,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora),
        optimizer_cls_and_kwargs=optimizer_factory(settings.optimizer, settings.training),
        callbacks=[MetricsFile(context.folder / "metrics.jsonl"), TrainingProgress("SFT", "loss")],
    )
    if config.use_cpu:
        score_supervised_tokens(model)  # under the adapters, where there are any
    trainer.add_callback(TokenCount(trainer))
    trainer.remove_callback(PrinterCallback)
    return trainer
