"""Conflicts between the settings of training: batches, optimisers, how processes share a model, and all of GRPO."""

from collections.abc import Iterator
from functools import partial

from xcoder_core.errors import InputError
from xcoder_core.secrets import hide_forms
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.schema import Conflict, Recipe, TrainedSettings, conflict, refusals
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.arithmetic import plan_grpo_batch
from xcoder_train.training.launch_settings import SHARDING, LaunchSettings, accelerate_settings, division
from xcoder_train.training.settings import TrainingSettings
from xcoder_train.training.trl_arguments import DECIDED, Trainer, trl_refusals

# Schedules that stop without one of these in lr_scheduler_kwargs, with an example of each.
_SCHEDULE_NEEDS: dict[str, dict[str, float]] = {
    "cosine_with_min_lr": {"min_lr": 1e-6, "min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-6, "min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 100},
}


_VLLM_OF_COLOCATE = (
    "vllm_gpu_memory_utilization",
    "vllm_tensor_parallel_size",
    "vllm_enable_sleep_mode",
    "vllm_max_model_length",
    "vllm_model_impl",
)
_VLLM_OF_SERVER = ("vllm_server_base_url", "vllm_server_timeout", "vllm_group_port")

# What vLLM's `generation_kwargs` would set past the trainer, which computes log-probabilities by the recipe's own keys.
_SAMPLING = {
    "temperature": "`grpo.temperature`",
    "top_p": "`grpo.top_p`",
    "top_k": "`grpo.top_k`",
    "max_tokens": "`grpo.max_completion_length`",
    "n": "`grpo.rollouts`",
    "min_p": "`grpo.training.trl.min_p`",
    "repetition_penalty": "`grpo.training.repetition_penalty`",
    "logprobs": "the trainer, which corrects by the sampled tokens' log-probabilities",
    "seed": "the seed of vLLM's process: one for every request would make the rollouts of a group alike",
}
_VESPO_CORRECTS_BY = ("token_truncate", "token_mask")

_NOT_OF_OUR_SAMPLER = ("min_p", "generation_kwargs", "cache_implementation", "use_transformers_continuous_batching")


def training_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Conflicts of SFT and GRPO alike, and those of GRPO's loss, rollouts, judge and prompts."""
    yield from _batches(recipe)
    yield from _training(recipe)
    yield from _launches(recipe)
    if recipe.grpo is not None:
        yield from _loss(recipe.grpo)
        yield from _rollouts(recipe.grpo)
        yield from _prompts(recipe, recipe.grpo)


def _batches(recipe: Recipe) -> Iterator[Conflict]:
    grpo = recipe.grpo
    if grpo is not None:
        sizes = grpo.prompts_per_step, grpo.rollouts, grpo.launch.processes, grpo.micro_batch
        yield from refusals("grpo.micro_batch", by=partial(plan_grpo_batch, *sizes))
    sft = recipe.sft
    if sft is not None and sft.evaluation is not None and _row_parts(sft.launch) > 1:
        yield conflict("has no way to split a held-out solution over processes; leave it out", "sft.evaluation")
    if sft is None or sft.packing:
        return
    processes, shared = sft.launch.processes, _row_parts(sft.launch)
    together = sft.micro_batch * max(1, processes // shared)
    if sft.batch % together:
        said = f"launch.processes ({processes})" + ("" if shared == 1 else f" / {shared} that share a row")
        yield conflict(
            f"batch ({sft.batch}) must be divisible by micro_batch ({sft.micro_batch}) x {said} = {together}",
            "sft.batch",
        )


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
        if stage == "sft" and isinstance(settings, SftSettings) and settings.tokens is not None:
            lengths = {"max_steps": training.max_steps > 0, "num_train_epochs": training.num_train_epochs is not None}
            said = f"sft.tokens ({settings.tokens}) says how long to train; keep one of the two"
            yield from (conflict(said, f"sft.training.{name}") for name, is_given in lengths.items() if is_given)
        needed = _SCHEDULE_NEEDS.get(training.lr_scheduler_type, {})
        if needed and len(needed.keys() & (training.lr_scheduler_kwargs or {}).keys()) != 1:
            name, example = list(needed.items())[-1]
            yield conflict(
                f"needs lr_scheduler_kwargs with {' or '.join(needed)}, such as {{{name}: {example}}}",
                f"{stage}.training.lr_scheduler_type",
            )
    if recipe.sft is not None and recipe.sft.quantize is not None and recipe.sft.lora is None:
        yield conflict("weights in 4 bits cannot be trained themselves: give sft.lora", "sft.quantize")


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
    launches: dict[str, LaunchSettings] = {stage: settings.launch for stage, settings in recipe.trained.items()}
    if recipe.evaluation is not None:
        launches["evaluation"] = recipe.evaluation.launch
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
        yield from _sharding(recipe, stage, launch, configured.get("distributed_type"))
        for theirs, ours in (("num_processes", "processes"), ("num_machines", "nodes")):
            count, here = configured.get(theirs), getattr(launch, ours)
            if isinstance(count, int) and count != here:
                yield conflict(
                    f"{theirs} there is {count}, launch.{ours} here is {here}; make them equal",
                    f"{stage}.launch.accelerate",
                )


def _sharding(recipe: Recipe, stage: str, launch: LaunchSettings, kind: str | None) -> Iterator[Conflict]:
    """What a sharded model or a split row rules out; `kind` is accelerate's word for how processes share a model."""
    sft = recipe.sft if stage == "sft" else None
    grpo = recipe.grpo if stage == "grpo" else None
    section = sft or grpo
    if grpo is not None and kind in SHARDING and grpo.generation == "transformers":
        # A sharded model needs every process in every forward pass, and rollouts end at different tokens.
        yield conflict(
            f"rollouts by transformers would wait for each other forever under {kind}, which shards the model: "
            "set grpo.generation: vllm_colocate or vllm_server, or launch without sharding",
            "grpo.generation",
        )
    if grpo is not None and kind == "FSDP" and grpo.curriculum is not None and grpo.curriculum.pass_rates is None:
        # With fsdp_cpu_ram_efficient_loading the others hold no weights until the model is sharded.
        yield conflict(
            "pass rates are sampled from a whole model in every process, and FSDP loads it in the first one of a "
            "machine: measure them without sharding and name the file in curriculum.pass_rates",
            "grpo.curriculum",
        )
    if section is not None and kind == "DEEPSPEED" and section.optimizer.name == "muon":
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
            "sft.quantize",
        )
    shared = division(launch).row_parts
    if shared == 1:
        return
    if sft is not None and launch.processes % shared:
        yield conflict(
            f"each row is split over {shared} processes there (parallelism_config_cp_size), which does not divide "
            f"launch.processes ({launch.processes})",
            "sft.launch.accelerate",
        )
    if sft is not None and sft.packing:
        yield conflict(
            "context parallelism drops the mask that keeps packed examples apart: set sft.packing: false", "sft.packing"
        )
    if grpo is not None:
        yield conflict("TRL's GRPO trains without context parallelism; launch it otherwise", "grpo.launch.accelerate")


def _loss(grpo: GrpoSettings) -> Iterator[Conflict]:
    training = grpo.training
    if training.num_iterations > 1 and training.save_steps % training.num_iterations:
        yield conflict(
            "a checkpoint inside a generation window cannot be resumed exactly: save_steps "
            f"({training.save_steps:g}) must be divisible by num_iterations ({training.num_iterations})",
            "grpo.training.num_iterations",
        )
    loss, level = training.loss_type, training.importance_sampling_level
    needed = "sequence" if loss == "luspo" else "token"
    if loss not in ("grpo", "sapo") and level != needed:
        yield conflict(
            f"loss_type {loss} needs importance_sampling_level {needed}, which is {level}",
            "grpo.training.importance_sampling_level",
        )
    if loss == "cispo" and training.epsilon_high <= 1:
        yield conflict(
            "cispo cuts the ratio itself off at epsilon_high, and ratios are about 1: set grpo.training.epsilon_high "
            "above 1, such as 5 (TRL's advice)",
            "grpo.training.epsilon_high",
        )
    if loss == "vespo" and training.vllm_importance_sampling_mode not in _VESPO_CORRECTS_BY:
        yield conflict(
            f"loss_type vespo needs one of {', '.join(_VESPO_CORRECTS_BY)}",
            "grpo.training.vllm_importance_sampling_mode",
        )
    if grpo.lora is not None and "lm_head" in grpo.lora.targets:
        yield conflict(
            "TRL's GRPO reads the output layer's weights past an adapter, which would never be trained: leave lm_head "
            "out",
            "grpo.lora.targets",
        )


def _rollouts(grpo: GrpoSettings) -> Iterator[Conflict]:
    training, way = grpo.training, grpo.generation
    unread = {
        "transformers": lambda name: name.startswith("vllm_") or name in _NOT_OF_OUR_SAMPLER,
        "vllm_colocate": lambda name: name in _VLLM_OF_SERVER,
        "vllm_server": lambda name: name in _VLLM_OF_COLOCATE,
    }[way]
    fields = type(training).model_fields.items()
    changed = [name for name, field in fields if name != "trl" and getattr(training, name) != field.default]
    for name in filter(unread, (*changed, *training.trl)):
        where = (
            "; give it to the server when you start it" if name in _VLLM_OF_COLOCATE and way == "vllm_server" else ""
        )
        path = f"grpo.training.{'trl.' if name in training.trl else ''}{name}"
        yield conflict(f"has no effect with generation: {way}{where}", path)
    given = training.trl.get("generation_kwargs")
    for name in given if way != "transformers" and isinstance(given, dict) else ():
        if name in _SAMPLING:
            yield conflict(f"`{name}` is decided by {_SAMPLING[name]}", "grpo.training.trl.generation_kwargs")
    over = training.vllm_tensor_parallel_size
    if way == "vllm_colocate" and grpo.launch.processes % over:
        yield conflict(
            f"vllm_tensor_parallel_size ({over}) must divide launch.processes ({grpo.launch.processes})",
            "grpo.training.vllm_tensor_parallel_size",
        )
    longest, needed = training.vllm_max_model_length, grpo.max_prompt_length + grpo.max_completion_length
    if way == "vllm_colocate" and longest is not None and longest < needed:
        yield conflict(
            f"vllm_max_model_length ({longest}) is less than max_prompt_length ({grpo.max_prompt_length}) + "
            f"max_completion_length ({grpo.max_completion_length}) = {needed}, so rollouts would be cut short",
            "grpo.training.vllm_max_model_length",
        )
    patience = training.ddp_timeout
    if 2 * grpo.reward.deadline_seconds > patience:
        yield conflict(
            f"deadline_seconds ({grpo.reward.deadline_seconds:g}) must be at most half of training.ddp_timeout "
            f"({patience:g} s), or the processes that wait for one judge are taken for dead",
            "grpo.reward.deadline_seconds",
        )


def _prompts(recipe: Recipe, grpo: GrpoSettings) -> Iterator[Conflict]:
    if recipe.synth is not None:
        splits = recipe.synth.splits.values()
        tasks = sum(split.tasks for split in splits if split.use == "rl")
        if 0 < tasks < grpo.prompts_per_step:  # none at all: another conflict, or an import
            yield conflict(
                f"a step of {grpo.prompts_per_step} prompts cannot be filled from {tasks} tasks for rl",
                "grpo.prompts_per_step",
            )
    path = None if grpo.curriculum is None else grpo.curriculum.pass_rates
    if path is not None and not path.is_file():
        yield conflict("there is no such file", "grpo.curriculum.pass_rates")
