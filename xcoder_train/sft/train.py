"""Supervised fine-tuning: `accelerate launch … -m xcoder_train.sft RECIPE [key.path=value …]` or `xcoder sft RECIPE`.

Prepare data and model, train, save, describe. `data.py` says what a row is and how it is cut.
"""

import shutil
import sys
from pathlib import Path

from xcoder_core.files import atomic_folder
from xcoder_core.models.folder import shape_at
from xcoder_core.models.loading import initialise_model, load_tokenizer, save_model
from xcoder_core.models.settings import ModelSettings
from xcoder_core.settings import require
from xcoder_core.share import await_files, context_parallel_size
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.sft.data import (
    TokenStatistics,
    corpus,
    held_out_tokens,
    read_held_out,
    read_pool,
    read_rows,
    read_tokens,
    select_rows,
    tokenize,
)
from xcoder_train.sft.settings import SftSettings
from xcoder_train.sft.trainer import sft_config, sft_trainer
from xcoder_train.training.arithmetic import BatchPlan, plan_sft_batch, training_flops_per_token
from xcoder_train.training.checkpoints import TimedCheckpoints, train_from_newest
from xcoder_train.training.settings import LoraSettings
from xcoder_train.training.start import begin_training
from xcoder_train.training.tracking import Clock, Throughput
from xcoder_train.training.trl_arguments import CHECKPOINTS
from xcoder_train.training.weights import load_training_model, save_trained


def train(settings: SftSettings, model: ModelSettings, context: StageContext) -> dict[str, object]:
    """Fine-tune on the synthesis in `context.inputs["synth"]`.

    Leaves `model/` in the context's folder, and `base/`, a model that the settings initialise. Returns the figures of
    the training in the main process, and {} in every other one.
    """
    clock = Clock(context.folder / CHECKPOINTS)
    state = begin_training(settings.training)

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
    trainer.add_callback(TimedCheckpoints(settings.training.save_minutes))
    trainer.add_callback(clock)
    steps = train_from_newest(trainer, state, context.folder, resume=settings.resume)
    saved = save_trained(trainer, tokenizer, start, model, context.folder / "model")
    figures: dict[str, object] = {}
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
            "steps": steps,
            "trained_tokens": round(steps * batch.examples_per_step * statistics.tokens / statistics.examples),
            "final_loss": next((line["loss"] for line in reversed(trainer.state.log_history) if "loss" in line), None),
            "parameters": weights.num_parameters(),
            **saved,
            **throughput.over_all(),
            "training_seconds": clock.seconds(),
        }
        shutil.rmtree(prepared)
    trainer.end()
    return figures


def prepare(settings: SftSettings, model: ModelSettings, context: StageContext, folder: Path) -> None:
    """Choose the rows, make a model that the recipe initialises, and write the token ids. Work of one process."""
    layout = SynthLayout(context.inputs["synth"])
    rows = select_rows(read_pool(layout, settings.data, model.prompt), settings.data, context.seed)
    start = starting_point(model, context)
    if model.init is not None and not Path(start).exists():
        # Every accepted solution shapes the tokenizer, so that runs on different choices of them start from one model.
        texts = corpus(read_rows(layout, verified=True, prompt_style=model.prompt))
        save_model(*initialise_model(model.init, texts, context.seed), Path(start))
    tokenizer = load_tokenizer(start, model.trust_remote_code, model.chat_template)
    with atomic_folder(folder) as temporary:
        tokenize(
            rows,
            tokenizer,
            temporary,
            max_length=settings.max_length,
            truncation_limit=settings.truncation_limit,
            packing=settings.packing,
            seed=context.seed,
        )


def starting_point(model: ModelSettings, context: StageContext) -> Path | str:
    """The path of the model that training starts from; a model from the recipe is made once and kept in `base/`."""
    return context.folder / "base" if model.init is not None else require(model.path)


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
