"""Conflicts between the settings of training: batches, lengths, optimisers, and how processes share a model."""

from collections.abc import Iterator
from functools import partial

from xcoder_core.errors import InputError
from xcoder_core.secrets import hide_forms
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.schema import Conflict, Recipe, conflict, refusals
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import StageName
from xcoder_train.training.arithmetic import plan_grpo_batch
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, accelerate_settings, division
from xcoder_train.training.settings import TrainedSettings, TrainingSettings
from xcoder_train.training.trl_arguments import DECIDED, Trainer, trl_refusals

# Schedules that stop without one of these in lr_scheduler_kwargs, with an example of each.
_SCHEDULE_NEEDS: dict[str, dict[str, float]] = {
    "cosine_with_min_lr": {"min_lr": 1e-6, "min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-6, "min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 100},
}


def training_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Conflicts of SFT and of GRPO alike; what only GRPO can say wrong is in `grpo_checks.py`."""
    yield from _batches(recipe)
    yield from _training(recipe)
    yield from _launches(recipe)


def _batches(recipe: Recipe) -> Iterator[Conflict]:
    grpo = recipe.grpo
    if grpo is not None:
        sizes = grpo.prompts_per_step, grpo.rollouts, grpo.launch.processes, grpo.micro_batch
        yield from refusals("grpo.micro_batch", by=partial(plan_grpo_batch, *sizes))
    for stage, settings in recipe.trained.items():
        if isinstance(settings, SftSettings):
            yield from _rows(stage, settings)


def _rows(stage: StageName, sft: SftSettings) -> Iterator[Conflict]:
    processes, shared = sft.launch.processes, _row_parts(sft.launch)
    if sft.evaluation is not None and shared > 1:
        yield conflict("has no way to split a held-out solution over processes; leave it out", f"{stage}.evaluation")
    together = sft.micro_batch * max(1, processes // shared)
    if not sft.packing and sft.batch % together:
        said = f"launch.processes ({processes})" + ("" if shared == 1 else f" / {shared} that share a row")
        yield conflict(
            f"batch ({sft.batch}) must be divisible by micro_batch ({sft.micro_batch}) x {said} = {together}",
            f"{stage}.batch",
        )
    if sft.quantize is not None and sft.lora is None:
        yield conflict(f"weights in 4 bits cannot be trained themselves: give {stage}.lora", f"{stage}.quantize")
    if sft.tokens is not None:
        training = sft.training
        lengths = {"max_steps": training.max_steps > 0, "num_train_epochs": training.num_train_epochs is not None}
        said = f"{stage}.tokens ({sft.tokens}) says how long to train; keep one of the two"
        yield from (conflict(said, f"{stage}.training.{name}") for name, is_given in lengths.items() if is_given)


def _row_parts(launch: LaunchSettings) -> int:
    """Processes that share a row; 1 for a configuration that cannot be read, which `_launches` reports."""
    try:
        return division(launch).row_parts
    except InputError:
        return 1


def _training(recipe: Recipe) -> Iterator[Conflict]:
    for stage, settings in recipe.trained.items():
        training = settings.training
        for name in training.trl.keys() & (DECIDED[stage].keys() | type(training).model_fields.keys() - {"optim"}):
            decider = DECIDED[stage].get(name, f"a key of its own: {stage}.training.{name}")
            yield conflict(f"is decided by {decider}", f"{stage}.training.trl.{name}")
        if training.trl.get("fp16") and training.bf16 is not False:
            yield conflict(
                f"fp16 and bf16 exclude each other: set {stage}.training.bf16: false beside it",
                f"{stage}.training.trl.fp16",
            )
        if settings.optimizer.name == "muon":
            yield from _muon(stage, settings)
        needed = _SCHEDULE_NEEDS.get(training.lr_scheduler_type, {})
        if needed and len(needed.keys() & (training.lr_scheduler_kwargs or {}).keys()) != 1:
            name, example = list(needed.items())[-1]
            yield conflict(
                f"needs lr_scheduler_kwargs with {' or '.join(needed)}, such as {{{name}: {example}}}",
                f"{stage}.training.lr_scheduler_type",
            )


def _muon(stage: Trainer, settings: TrainedSettings) -> Iterator[Conflict]:
    training, path = settings.training, f"{stage}.optimizer.name"
    if training.for_trl()["optim"] != TrainingSettings().optim:
        below = "trl." if "optim" in training.trl else ""
        yield conflict("is decided by optimizer.name: muon", f"{stage}.training.{below}optim")
    if "learning_rate" not in training.model_fields_set:
        yield conflict(
            f"Muon has no rate that fits every model: set {stage}.training.learning_rate, such as 1e-2", path
        )
    if settings.lora is not None:
        yield conflict(
            "muon is for whole matrices, adapters are products of two; use optimizer.name: adamw with lora", path
        )


def refused_by_trl(recipe: Recipe) -> Iterator[Conflict]:
    """What the installed TRL says against `training.trl`. It takes seconds to ask."""
    for stage, settings in recipe.trained.items():
        if settings.training.trl:
            for name, message in trl_refusals(stage, settings.training.trl).items():
                yield conflict(hide_forms(message), f"{stage}.training.trl.{name}".rstrip("."))


def _launches(recipe: Recipe) -> Iterator[Conflict]:
    trained = {str(stage): settings for stage, settings in recipe.trained.items()}
    launches = {stage: settings.launch for stage, settings in trained.items()}
    if recipe.evaluation is not None:
        launches["evaluation"] = recipe.evaluation.launch
    if recipe.grpo is not None:
        launches["grpo.curriculum"] = recipe.grpo.measuring.launch
    for stage, launch in launches.items():
        if launch.gpus is not None and launch.processes > len(launch.gpus):
            yield conflict(
                f"{launch.processes} processes need as many GPUs; launch.gpus names {len(launch.gpus)}",
                f"{stage}.launch.processes",
            )
        try:
            configured = {} if launch.accelerate is None else accelerate_settings(launch.accelerate)
        except InputError as error:
            yield conflict(str(error), f"{stage}.launch.accelerate")
            continue
        if stage in trained:
            yield from _sharding(stage, trained[stage], configured.get("distributed_type"))
        for theirs, ours in (("num_processes", "processes"), ("num_machines", "nodes")):
            count, here = configured.get(theirs), getattr(launch, ours)
            if isinstance(count, int) and count != here:
                yield conflict(
                    f"{theirs} there is {count}, launch.{ours} here is {here}; make them equal",
                    f"{stage}.launch.accelerate",
                )


def _sharding(stage: str, settings: TrainedSettings, kind: str | None) -> Iterator[Conflict]:
    """What a sharded model or a split row rules out; `kind` is accelerate's word for how processes share a model."""
    sft = settings if isinstance(settings, SftSettings) else None
    grpo = settings if isinstance(settings, GrpoSettings) else None
    if grpo is not None and kind in SHARDING and grpo.generation == "transformers":
        # A sharded model needs every process in every forward pass, and rollouts end at different tokens.
        yield conflict(
            f"rollouts by transformers would wait for each other forever under {kind}, which shards the model: "
            "set grpo.generation: vllm_colocate or vllm_server, or launch without sharding",
            "grpo.generation",
        )
    if kind == "DEEPSPEED" and settings.optimizer.name == "muon":
        # ZeRO-3 hands the optimiser flat shards, and with offload accelerate puts DeepSpeed's Adam in its place.
        yield conflict(
            "muon is for whole matrices, and DeepSpeed steps flat shards of them: use optimizer.name: adamw, or launch "
            "with recipes/accelerate/fsdp2.yaml",
            f"{stage}.optimizer.name",
        )
    if sft is not None and kind in SHARDING and sft.quantize is not None:
        yield conflict(
            f"4-bit weights are not sharded, and {kind} shards: launch with recipes/accelerate/ddp.yaml, or train "
            "adapters on weights that are not quantised",
            f"{stage}.quantize",
        )
    processes, shared = settings.launch.processes, division(settings.launch).row_parts
    if shared == 1:
        return
    if sft is not None and processes % shared:
        yield conflict(
            f"each row is split over {shared} processes there (parallelism_config_cp_size), which does not divide "
            f"launch.processes ({processes})",
            f"{stage}.launch.accelerate",
        )
    if sft is not None and sft.packing:
        yield conflict(
            f"context parallelism drops the mask that keeps packed examples apart: set {stage}.packing: false",
            f"{stage}.packing",
        )
    if grpo is not None:
        yield conflict("TRL's GRPO trains without context parallelism; launch it otherwise", "grpo.launch.accelerate")
