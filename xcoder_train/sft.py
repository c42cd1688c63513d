"""Supervised fine-tuning: `accelerate launch … -m xcoder_train.sft RECIPE [key.path=value …]` or `xcoder sft RECIPE`.

Load the data, prepare model and batches, train, save. What a row is and how it is cut stands in `sft_data.py`.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from xcoder_train.batching import BatchPlan, plan_sft_batch
from xcoder_train.checkpoints import CHECKPOINTS, newest_whole_checkpoint
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.seeds import derive_seed
from xcoder_train.core.stage import StageContext
from xcoder_train.model import (
    initialise_model,
    load_tokenizer,
    load_training_model,
    lora_config,
    save_model,
    save_trained,
)
from xcoder_train.optimizer import optimizer_factory
from xcoder_train.quiet import quiet_libraries
from xcoder_train.recipe import Recipe, present
from xcoder_train.run import run_stage
from xcoder_train.sft_data import corpus, read_rows, select_rows, tokenize
from xcoder_train.tracking import MetricsFile, TokenCount, TrainingProgress, start_tracking
from xcoder_train.trl_arguments import built


def train(recipe: Recipe, context: StageContext) -> None:
    """Run the SFT stage: leaves `model/` (and `base/`, a model that the recipe initialises) in the stage's folder."""
    settings = present(recipe.sft)
    started = time.monotonic()
    quiet_libraries()
    state = PartialState(cpu=not torch.cuda.is_available())

    layout = SynthLayout(context.inputs["synth"])
    rows = read_rows(layout, verified=settings.data.verified, prompt_style=recipe.model.prompt)
    rows = select_rows(rows, settings.data, context.seed)
    with state.main_process_first():
        start = starting_point(recipe, context, rows)
    tokenizer = load_tokenizer(start, recipe.model)
    dataset, statistics = tokenize(
        rows,
        tokenizer,
        max_length=settings.max_length,
        truncation_limit=settings.truncation_limit,
        packing=settings.packing,
        seed=context.seed,
    )
    batch = plan_sft_batch(settings.batch, statistics.examples_per_row, state.num_processes, settings.micro_batch)
    if state.is_main_process:
        print(describe(statistics, batch), file=sys.stderr)

    model = load_training_model(start, recipe.model, lora=settings.lora is not None)
    trainer = SFTTrainer(
        model=model,
        args=sft_config(recipe, context, tokenizer, batch),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(settings.lora),
        optimizer_cls_and_kwargs=optimizer_factory(settings.optimizer, settings.training),
        callbacks=[MetricsFile(context.folder / "metrics.jsonl"), TrainingProgress("SFT", "loss")],
    )
    trainer.add_callback(TokenCount(trainer))
    trainer.remove_callback(PrinterCallback)
    with state.main_process_first():  # the first one sweeps half-written checkpoints away
        checkpoint = newest_whole_checkpoint(context.folder / CHECKPOINTS) if settings.resume else None
    result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    save_trained(trainer, tokenizer, start, recipe.model, context.folder / "model")
    if state.is_main_process:
        context.finish(
            examples=statistics.examples,
            tokens=statistics.tokens,
            supervised_tokens=statistics.supervised_tokens,
            truncated=statistics.truncated,
            examples_per_step=batch.examples_per_step,
            steps=result.global_step,
            trained_tokens=round(
                result.global_step * batch.examples_per_step * statistics.tokens / statistics.examples
            ),
            final_loss=next((line["loss"] for line in reversed(trainer.state.log_history) if "loss" in line), None),
            parameters=model.num_parameters(),
            training_seconds=round(time.monotonic() - started, 1),
        )
    trainer.end()


def starting_point(recipe: Recipe, context: StageContext, rows: list[dict[str, Any]]) -> Path | str:
    """The path of the model that training starts from; a model from the recipe is made once and kept in `base/`."""
    if recipe.model.init is None:
        return present(recipe.model.path)
    base = context.folder / "base"
    if not base.exists():
        model, tokenizer = initialise_model(recipe.model.init, corpus(rows), context.seed)
        save_model(model, tokenizer, base)
    return base


def sft_config(
    recipe: Recipe, context: StageContext, tokenizer: PreTrainedTokenizerBase, batch: BatchPlan
) -> SFTConfig:
    """TRL's arguments: ours where the recipe's own keys decide, the recipe's `sft.training` for everything else."""
    settings = present(recipe.sft)
    on_gpu = torch.cuda.is_available()
    arguments: dict[str, Any] = {
        "bf16": on_gpu,
        "activation_checkpointing": on_gpu,
        "save_total_limit": 2,
        "ddp_find_unused_parameters": False,  # every parameter is used; searching for others costs a pass over them
        **settings.training,
        "output_dir": str(context.folder / CHECKPOINTS),
        "seed": derive_seed(context.seed, "sft", "trainer") % 2**31,
        "max_length": settings.max_length,
        "packing": settings.packing,
        "per_device_train_batch_size": batch.micro_batch,
        "gradient_accumulation_steps": batch.accumulation,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "report_to": start_tracking(recipe.tracking, context, recipe.model_dump(mode="json")),
        "use_cpu": not on_gpu,
        "disable_tqdm": True,
    }
    return built(SFTConfig, "sft", arguments)


def describe(statistics: Any, batch: BatchPlan) -> str:
    """What is about to be trained on, in one line for a person."""
    return (
        f"SFT on {statistics.examples:,} examples, {statistics.tokens:,} tokens ({statistics.supervised_tokens:,} "
        f"supervised), {statistics.truncated} left out as too long; {batch.examples_per_step:.0f} examples a step as "
        f"{batch.accumulation} x {batch.micro_batch} rows on {batch.processes} process(es)"
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line of this stage."""
    return run_stage("sft", train, arguments)


if __name__ == "__main__":
    sys.exit(main())
