"""Supervised fine-tuning: `accelerate launch … -m xcoder_train.sft RECIPE [key.path=value …]` or `xcoder sft RECIPE`.

Prepare data and model, train, save, describe. What a row is and how it is cut stands in `data.py`.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig

from xcoder_core.layout import SynthLayout
from xcoder_core.models.loading import load_tokenizer
from xcoder_core.models.settings import ModelSettings
from xcoder_core.models.shape import shape_at
from xcoder_core.share import await_files, context_parallel_size
from xcoder_core.stage import StageContext
from xcoder_train.sft.arguments import sft_config
from xcoder_train.sft.data import TokenStatistics, held_out_tokens, read_held_out, read_tokens
from xcoder_train.sft.packed_attention import attend_within_examples
from xcoder_train.sft.prepare import prepare, starting_point
from xcoder_train.sft.settings import SftSettings
from xcoder_train.sft.supervised_tokens import score_supervised_tokens
from xcoder_train.sft.trainer import HeldOutSftTrainer
from xcoder_train.training.batching import BatchPlan, plan_sft_batch
from xcoder_train.training.checkpoints import CHECKPOINTS, newest_whole_checkpoint
from xcoder_train.training.model_flops import training_flops_per_token
from xcoder_train.training.optimizer import optimizer_factory
from xcoder_train.training.processes import join_processes
from xcoder_train.training.quiet import quiet_libraries
from xcoder_train.training.settings import LoraSettings
from xcoder_train.training.throughput import Throughput
from xcoder_train.training.tracking import Clock, MetricsFile, TokenCount, TrainingProgress
from xcoder_train.training.weights import load_training_model, lora_config, save_trained


def train(settings: SftSettings, model: ModelSettings, context: StageContext) -> dict[str, Any]:
    """Fine-tune on the synthesis in `context.inputs["synth"]`.

    Leaves `model/` in the context's folder, and `base/`, a model that the settings initialise. Returns the figures of
    the training in the main process, and {} in every other one.
    """
    clock = Clock(context.folder / CHECKPOINTS)
    quiet_libraries()
    state = join_processes(settings.training)

    prepared = context.folder / "prepared"
    if state.is_main_process and not prepared.exists():
        prepare(settings, model, context, prepared)
    await_files([prepared])
    start = starting_point(model, context)
    tokenizer = load_tokenizer(start, model.trust_remote_code, model.chat_template)
    dataset, statistics = read_tokens(prepared)
    data_parallel = state.num_processes // context_parallel_size()
    batch = plan_sft_batch(settings.batch, statistics.examples_per_row, data_parallel, settings.micro_batch)
    if state.is_main_process:
        print(describe(statistics, batch), file=sys.stderr)

    held_out = None
    if settings.evaluation is not None:
        rows = read_held_out(SynthLayout(context.inputs["synth"]), model.prompt, context.seed)
        held_out = held_out_tokens(rows, tokenizer, max_length=settings.max_length, tasks=settings.evaluation.tasks)

    # Before the model, which ZeRO-3 partitions while it is loaded.
    config = sft_config(settings, context, batch, statistics.tokens / statistics.examples)
    weights = load_training_model(start, model, lora=settings.lora is not None, quantize=settings.quantize)
    trainer = sft_trainer(settings, context, config, weights, tokenizer, dataset, held_out)
    throughput = Throughput(
        trainer, flops_per_token(settings.lora, start, statistics), settings.launch.hardware.peak_tflops
    )
    trainer.add_callback(throughput)
    trainer.add_callback(clock)
    with state.main_process_first():  # the first one sweeps half-written checkpoints away
        checkpoint = newest_whole_checkpoint(context.folder / CHECKPOINTS) if settings.resume else None
    trainer.args.eval_on_start = held_out is not None and checkpoint is None
    result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    saved = save_trained(trainer, tokenizer, start, model, context.folder / "model")
    figures: dict[str, Any] = {}
    if state.is_main_process:
        figures = {
            "data": context.inputs["synth"].name,
            "view": {"data": settings.data.model_dump(mode="json"), "seed": context.seed},
            "fingerprint": statistics.fingerprint,
            "examples": statistics.examples,
            "tokens": statistics.tokens,
            "supervised_tokens": statistics.supervised_tokens,
            "truncated": statistics.truncated,
            "length_histogram": statistics.histogram,
            "examples_per_row": statistics.examples_per_row,
            "examples_per_step": batch.examples_per_step,
            "steps": result.global_step,
            "trained_tokens": round(
                result.global_step * batch.examples_per_step * statistics.tokens / statistics.examples
            ),
            "final_loss": next((line["loss"] for line in reversed(trainer.state.log_history) if "loss" in line), None),
            "parameters": weights.num_parameters(),
            **saved,
            **throughput.over_all(),
            "training_seconds": clock.seconds(),
        }
        shutil.rmtree(prepared)
    trainer.end()
    return figures


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


def flops_per_token(lora: LoraSettings | None, start: Path | str, statistics: TokenStatistics) -> float | None:
    """Model FLOPs of training on one token of this data; None for a model whose shape is not known."""
    shape = shape_at(start)
    if shape is None:
        return None
    adapters = None if lora is None else lora.parameters(shape)
    return training_flops_per_token(shape, statistics.mean_attended, adapters)


def describe(statistics: TokenStatistics, batch: BatchPlan) -> str:
    """What is about to be trained on, for a person."""
    lengths = ", ".join(f"{count:,} up to {int(limit):,}" for limit, count in statistics.histogram.items())
    return (
        f"SFT on {statistics.examples:,} examples, {statistics.tokens:,} tokens ({statistics.supervised_tokens:,} "
        f"supervised), {statistics.truncated:,} left out as too long\n"
        f"a step: {batch.examples_per_step:.0f} examples as {batch.accumulation} x {batch.micro_batch} rows on "
        f"{batch.processes} process(es), {statistics.examples_per_row:.2f} examples a row\n"
        f"examples by length in tokens: {lengths}"
    )
