"""Conflicts between settings that are each fine on their own. Nothing here touches a device or the network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.windows import find_window, window_files
from synth.config import uses_of
from synth.features.config import feature_file
from synth.published.files import local_files
from xcoder_train.config import GrpoSettings, LaunchSettings, SftSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.records import check_tables
from xcoder_train.core.yaml_source import Part
from xcoder_train.grpo_checks import rollout_conflicts
from xcoder_train.launch import SHARDING, accelerate_settings
from xcoder_train.model_folder import check_model_folder, looks_local
from xcoder_train.model_shape import model_shape
from xcoder_train.results import input_folder, stage_key
from xcoder_train.trl_values import schedule_mistake

if TYPE_CHECKING:
    from xcoder_train.recipe import Recipe, StageName


@dataclass(frozen=True)
class Conflict:
    """A message at `paths[0]`; it stands only while all of `paths` are free of mistakes of their own."""

    paths: tuple[tuple[Part, ...], ...]
    message: str


def find_conflicts(recipe: "Recipe") -> list[Conflict]:
    """Every conflict in the recipe."""
    return [
        *_stages(recipe),
        *_starting_points(recipe),
        *_splits(recipe),
        *_features(recipe),
        *_read_files(recipe),
        *_evaluation(recipe),
        *_batches(recipe),
        *_training(recipe),
        *(_conflict(*said) for said in rollout_conflicts(recipe)),
        *_context(recipe),
        *_launches(recipe),
    ]


def _conflict(message: str, *dotted: str) -> Conflict:
    return Conflict(tuple(tuple(path.split(".")) for path in dotted), message)


def _stages(recipe: "Recipe") -> Iterator[Conflict]:
    earlier: tuple[StageName, ...] = ("synth", "sft", "grpo")
    for stage in earlier:
        if recipe.has(stage) and getattr(recipe.inputs, stage) is not None:
            yield _conflict(
                f"this recipe has a `{stage}:` section of its own; keep one of the two", f"inputs.{stage}", stage
            )
    if not recipe.stages:
        yield _conflict("the recipe has no stage; give one of synth, sft, grpo, evaluation", "name")
    has_data = recipe.has_result("synth")
    has_model = recipe.model.path is not None or recipe.model.init is not None
    trained: tuple[StageName, ...] = ("sft", "grpo")
    for stage in trained:
        if recipe.has(stage) and not has_data:
            yield _conflict("needs tasks: give a `synth:` section or `inputs.synth`", stage, "synth", "inputs")
    if recipe.sft is not None and not has_model:
        yield _conflict("needs a model to start from: set model.path or model.init", "sft", "model")
    if recipe.grpo is not None and not recipe.has_result("sft") and recipe.model.path is None:
        yield _conflict(
            "needs a model to start from: an `sft:` section, `inputs.sft`, or model.path",
            "grpo",
            "sft",
            "model",
            "inputs",
        )


def _starting_points(recipe: "Recipe") -> Iterator[Conflict]:
    """The folders that the run starts from hold what they should."""
    if recipe.model.path is not None and looks_local(recipe.model.path) and not _is_only_served(recipe):
        try:
            check_model_folder(Path(recipe.model.path))
        except InputError as error:
            yield _conflict(str(error), "model.path")
    stages: tuple[StageName, ...] = ("synth", "sft", "grpo")
    for stage in stages:
        if getattr(recipe.inputs, stage) is None:
            continue
        try:
            stage_key(recipe, stage)
            if stage == "synth":
                check_tables(input_folder(recipe, stage))
            else:
                check_model_folder(input_folder(recipe, stage) / "model")
        except (InputError, OSError) as error:
            yield _conflict(str(error), f"inputs.{stage}")


def _splits(recipe: "Recipe") -> Iterator[Conflict]:
    if recipe.synth is None:
        return
    uses = set(uses_of(recipe.synth).values())
    published = {"sft": "x-coder-sft-376k", "rl": "x-coder-rl-40k"}
    for stage, use in (("sft", "sft"), ("grpo", "rl")):
        if recipe.has(stage) and use not in uses:  # type: ignore[arg-type]
            if recipe.synth.imports:
                yield _conflict(f"`{stage}` needs an import of source {published[use]}", "synth.import", stage)
            else:
                yield _conflict(f"`{stage}` needs a split with `use: {use}`", "synth.splits", stage)
    if recipe.evaluation is not None and "heldout" in recipe.evaluation.benchmarks and "evaluation" not in uses:
        yield _conflict(
            "the benchmark `heldout` needs a split with `use: evaluation`", "synth.splits", "evaluation.benchmarks"
        )


def _read_files(recipe: "Recipe") -> Iterator[Conflict]:
    """The files that synthesis reads are there."""
    if recipe.synth is None:
        return
    for path in recipe.synth.cleaning.decontaminate:
        if not path.is_file():
            yield _conflict(f"there is no file {path}", "synth.cleaning.decontaminate")
    for place, item in enumerate(recipe.synth.imports):
        try:
            local_files(item)
        except InputError as error:
            yield Conflict((("synth", "import", place),), str(error))


def _features(recipe: "Recipe") -> Iterator[Conflict]:
    source = None if recipe.synth is None else feature_file(recipe.synth.features)
    if source is not None and not source.is_file():
        yield _conflict("there is no such file", "synth.features.source.path")


def _evaluation(recipe: "Recipe") -> Iterator[Conflict]:
    settings = recipe.evaluation
    if settings is None:
        return
    beyond = [k for k in settings.k if not 1 <= k <= settings.samples]
    if beyond:
        yield _conflict(
            f"pass@{beyond[0]} cannot be estimated from {settings.samples} samples; every k must lie between 1 and "
            "evaluation.samples",
            "evaluation.k",
            "evaluation.samples",
        )
    sources: dict[str, StageName] = {"sft": "sft", "rl": "grpo"}
    for model in settings.models:
        stage = sources.get(model)
        if stage is not None and not recipe.has_result(stage):
            yield _conflict(
                f"`{model}` is what the stage `{stage}` trains: give a `{stage}:` section or `inputs.{stage}`, "
                "or leave it out",
                "evaluation.models",
                stage,
                "inputs",
            )
    has_base = recipe.model.path is not None or (recipe.model.init is not None and recipe.has_result("sft"))
    if "base" in settings.models and not has_base:
        yield _conflict(
            "`base` is the model before training: set model.path, or model.init with an `sft:` section that makes it",
            "evaluation.models",
            "model",
            "sft",
            "inputs",
        )
    if "heldout" in settings.benchmarks and not recipe.has_result("synth"):
        yield _conflict(
            "`heldout` is made by synthesis: give a `synth:` section or `inputs.synth`",
            "evaluation.benchmarks",
            "synth",
            "inputs",
        )
    server = settings.generation.openai
    if settings.generation.backend == "openai" and server is not None and server.model and len(settings.models) > 1:
        yield _conflict(
            f"the server's model {server.model!r} would be measured {len(settings.models)} times over; name one model, "
            "or leave openai.model out where the server knows each by its path",
            "evaluation.models",
            "evaluation.generation.openai.model",
        )
    for index, benchmark in enumerate(settings.benchmarks):
        mistake = _benchmark_mistake(benchmark, settings.livecodebench_folder)
        if mistake is not None:
            yield Conflict((("evaluation", "benchmarks", index),), mistake)


def _benchmark_mistake(benchmark: str, livecodebench_folder: Path | None) -> str | None:
    kind, _, rest = benchmark.partition(":")
    if benchmark == "heldout":
        return None
    if kind == "livecodebench":
        try:
            window_files(find_window(rest), livecodebench_folder)
        except InputError as error:
            return str(error)
        return None
    if kind not in ("file", "evalplus") or not rest:
        return "expected `heldout`, `livecodebench:NAME`, `file:PATH` of a LiveCodeBench file, or `evalplus:PATH`"
    return None if Path(rest).expanduser().is_file() else "there is no such file"


def _batches(recipe: "Recipe") -> Iterator[Conflict]:
    grpo = recipe.grpo
    if grpo is not None:
        completions, together = grpo.prompts_per_step * grpo.rollouts, grpo.micro_batch * grpo.launch.processes
        if completions % together:
            yield _conflict(
                f"prompts_per_step ({grpo.prompts_per_step}) x rollouts ({grpo.rollouts}) = {completions} completions "
                f"per step must be divisible by micro_batch ({grpo.micro_batch}) x launch.processes "
                f"({grpo.launch.processes}) = {together}",
                "grpo.micro_batch",
                "grpo.prompts_per_step",
                "grpo.rollouts",
                "grpo.launch.processes",
            )
    sft = recipe.sft
    if sft is not None and not sft.packing and sft.batch % (sft.micro_batch * sft.launch.processes):
        yield _conflict(
            f"batch ({sft.batch}) must be divisible by micro_batch ({sft.micro_batch}) x launch.processes "
            f"({sft.launch.processes}) = {sft.micro_batch * sft.launch.processes}",
            "sft.batch",
            "sft.micro_batch",
            "sft.launch.processes",
        )


def _training(recipe: "Recipe") -> Iterator[Conflict]:
    sections: dict[str, SftSettings | GrpoSettings | None] = {"sft": recipe.sft, "grpo": recipe.grpo}
    for stage, settings in sections.items():
        if settings is None:
            continue
        training = settings.training
        if settings.optimizer.name == "muon" and "optim" in training:
            yield _conflict("is decided by optimizer.name: muon", f"{stage}.training.optim", f"{stage}.optimizer.name")
        if settings.optimizer.name == "muon" and "learning_rate" not in training:
            yield _conflict(
                f"Muon has no rate that fits every model: set {stage}.training.learning_rate, such as 1e-2",
                f"{stage}.optimizer.name",
                f"{stage}.training",
            )
        if settings.optimizer.name == "muon" and settings.lora is not None:
            yield _conflict(
                "muon is for whole matrices, adapters are products of two; use optimizer.name: adamw with lora",
                f"{stage}.optimizer.name",
                f"{stage}.lora",
            )
        if stage == "sft" and isinstance(settings, SftSettings) and settings.tokens is not None:
            for length in ("max_steps", "num_train_epochs"):
                if length in training:
                    yield _conflict(
                        f"sft.tokens ({settings.tokens}) says how long to train; keep one of the two",
                        f"sft.training.{length}",
                        "sft.tokens",
                    )
        schedule = schedule_mistake(training)
        if schedule is not None:
            yield _conflict(schedule, f"{stage}.training.lr_scheduler_type", f"{stage}.training.lr_scheduler_kwargs")
        if training.get("bf16") is True and training.get("fp16") is True:
            yield _conflict("bf16 and fp16 exclude each other", f"{stage}.training.fp16", f"{stage}.training.bf16")
    if recipe.sft is not None and recipe.sft.quantize is not None and recipe.sft.lora is None:
        yield _conflict("weights in 4 bits cannot be trained themselves: give sft.lora", "sft.quantize", "sft.lora")
    if recipe.grpo is not None:
        yield from _grpo_training(recipe.grpo)


def _grpo_training(grpo: GrpoSettings) -> Iterator[Conflict]:
    training = grpo.training
    iterations, save_steps = training.get("num_iterations", 1), training.get("save_steps", 500)
    if (
        isinstance(iterations, int)
        and iterations > 1
        and isinstance(save_steps, int | float)
        and save_steps % iterations
    ):
        yield _conflict(
            "a checkpoint inside a generation window cannot be resumed exactly: save_steps "
            f"({save_steps}{'' if 'save_steps' in training else ', the default'}) must be divisible by num_iterations "
            f"({iterations})",
            "grpo.training.save_steps" if "save_steps" in training else "grpo.training.num_iterations",
            "grpo.training.num_iterations",
        )
    loss, level = training.get("loss_type", "dapo"), training.get("importance_sampling_level", "token")
    needed = {
        "luspo": "sequence",
        "vespo": "token",
        "bnpo": "token",
        "dr_grpo": "token",
        "dapo": "token",
        "cispo": "token",
    }
    if loss in needed and level != needed[loss]:
        yield _conflict(
            f"loss_type {loss} needs importance_sampling_level {needed[loss]}, which is {level}",
            "grpo.training.loss_type" if "loss_type" in training else "grpo.training.importance_sampling_level",
            "grpo.training.importance_sampling_level",
        )
    if grpo.reward.shuffle_within_batch and grpo.prompts_per_step * grpo.rollouts < 2:
        yield _conflict("there is nothing to shuffle in a batch of one", "grpo.reward.shuffle_within_batch")


def _context(recipe: "Recipe") -> Iterator[Conflict]:
    try:
        shape = model_shape(recipe.model)
    except InputError as error:
        yield _conflict(str(error), "model.path")
        return
    if shape is None:
        return
    context, where = shape.context, "model.init.context" if recipe.model.init is not None else "model.path"
    if recipe.sft is not None and recipe.sft.max_length > context:
        yield _conflict(
            f"rows of {recipe.sft.max_length} tokens do not fit the model's context of {context}",
            "sft.max_length",
            where,
        )
    grpo = recipe.grpo
    if grpo is not None and grpo.max_prompt_length + grpo.max_completion_length > context:
        yield _conflict(
            f"max_prompt_length ({grpo.max_prompt_length}) + max_completion_length ({grpo.max_completion_length}) = "
            f"{grpo.max_prompt_length + grpo.max_completion_length} tokens do not fit the model's context of {context}",
            "grpo.max_completion_length",
            "grpo.max_prompt_length",
            where,
        )
    if recipe.evaluation is not None:
        longest = recipe.evaluation.generation.max_model_len or context
        new = recipe.evaluation.sampling.max_new_tokens
        if new >= min(longest, context):
            yield _conflict(
                f"{new} new tokens leave no room for a prompt in a context of {min(longest, context)}",
                "evaluation.sampling.max_new_tokens",
                "evaluation.generation.max_model_len",
                where,
            )


def _launches(recipe: "Recipe") -> Iterator[Conflict]:
    launches: dict[str, LaunchSettings | None] = {
        "sft": None if recipe.sft is None else recipe.sft.launch,
        "grpo": None if recipe.grpo is None else recipe.grpo.launch,
    }
    for stage, launch in launches.items():
        if launch is None:
            continue
        if launch.gpus is not None and launch.processes > len(launch.gpus):
            yield _conflict(
                f"{launch.processes} processes need as many GPUs; launch.gpus names {len(launch.gpus)}",
                f"{stage}.launch.processes",
                f"{stage}.launch.gpus",
            )
        if launch.accelerate is None:
            continue
        try:
            configured = accelerate_settings(launch.accelerate)
        except InputError as error:
            yield _conflict(str(error), f"{stage}.launch.accelerate")
            continue
        yield from _sharding(recipe, stage, configured)
        for theirs, ours in (("num_processes", "processes"), ("num_machines", "nodes")):
            count, here = configured.get(theirs), getattr(launch, ours)
            if isinstance(count, int) and count != here:
                yield _conflict(
                    f"{theirs} there is {count}, launch.{ours} here is {here}; make them equal",
                    f"{stage}.launch.accelerate",
                    f"{stage}.launch.{ours}",
                )


def _sharding(recipe: "Recipe", stage: str, configured: dict[str, Any]) -> Iterator[Conflict]:
    """What a sharded model or a split row rules out."""
    kind = configured.get("distributed_type")
    if stage == "grpo" and kind in SHARDING and _rolls_out_by_transformers(recipe):
        # A sharded model needs every process in every forward pass, and rollouts end at different tokens.
        yield _conflict(
            f"rollouts by transformers would wait for each other forever under {kind}, which shards the model: "
            "set grpo.generation: vllm_colocate or vllm_server, or launch without sharding",
            "grpo.generation",
            "grpo.launch.accelerate",
        )
    if stage == "sft" and kind in SHARDING and recipe.sft is not None and recipe.sft.quantize is not None:
        yield _conflict(
            f"4-bit weights are not sharded, and {kind} shards: launch with recipes/accelerate/ddp.yaml, or train "
            "adapters on weights that are not quantised",
            "sft.quantize",
            "sft.launch.accelerate",
        )
    split = configured.get("parallelism_config")
    rows_are_split = isinstance(split, dict) and split.get("parallelism_config_cp_size", 1) > 1
    if rows_are_split and stage == "grpo":
        yield _conflict("TRL's GRPO trains without context parallelism; launch it otherwise", "grpo.launch.accelerate")
    if rows_are_split and stage == "sft" and recipe.sft is not None and recipe.sft.packing:
        yield _conflict(
            "context parallelism drops the mask that keeps packed examples apart: set sft.packing: false",
            "sft.packing",
            "sft.launch.accelerate",
        )


def _is_only_served(recipe: "Recipe") -> bool:
    """True where the model is nothing but a name that a server knows."""
    stages = {"sft", "grpo"} & set(recipe.stages)
    return not stages and recipe.evaluation is not None and recipe.evaluation.generation.backend == "openai"


def _rolls_out_by_transformers(recipe: "Recipe") -> bool:
    return recipe.grpo is not None and recipe.grpo.generation == "transformers"
