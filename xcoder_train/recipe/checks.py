"""Conflicts between settings that are each valid alone. Nothing here uses a device or the network."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from evaluation.benchmarks import benchmark_files, benchmark_name
from evaluation.prompting import FEW_SHOT
from synth.config import uses_of
from synth.features.config import feature_file
from synth.published.files import local_files
from xcoder_core.errors import InputError
from xcoder_core.models.folder import (
    check_chat_template,
    check_model_folder,
    has_chat_template,
    looks_local,
    model_shape,
)
from xcoder_core.models.prompt import NO_TEMPLATE
from xcoder_core.records import check_tables, read_records
from xcoder_core.stage import Membership, SynthLayout, key_of_result
from xcoder_train.recipe.fitted import has_base, model_context, teacher_room, value_at
from xcoder_train.recipe.grpo_checks import grpo_conflicts
from xcoder_train.recipe.schema import Conflict, Recipe, conflict, refusals
from xcoder_train.recipe.training_checks import refused_by_trl, training_conflicts
from xcoder_train.sft.settings import SftSettings
from xcoder_train.stages import KEYED, STAGES, TRAINING, StageName


def find_conflicts(recipe: Recipe) -> list[Conflict]:
    """Every conflict in the recipe; where there is none, the arguments that TRL itself refuses."""
    found = [
        *_stages(recipe),
        *_starting_points(recipe),
        *_splits(recipe),
        *_held_out_tasks(recipe),
        *_read_files(recipe),
        *_evaluation(recipe),
        *_context(recipe),
        *training_conflicts(recipe),
        *grpo_conflicts(recipe),
    ]
    return found or list(refused_by_trl(recipe))


def _stages(recipe: Recipe) -> Iterator[Conflict]:
    for stage in KEYED:
        if recipe.has(stage) and getattr(recipe.inputs, stage) is not None:
            yield conflict(f"this recipe has a `{stage}:` section of its own; keep one of the two", f"inputs.{stage}")
    if not recipe.stages:
        sections = ", ".join(stage for stage in STAGES if stage != "report")
        yield conflict(f"the recipe has no stage; give one of {sections}", "name")
    has_data = recipe.has_result("synth")
    has_model = recipe.model.path is not None or recipe.model.init is not None
    for stage in recipe.trained if not has_data else ():
        yield conflict("needs tasks: give a `synth:` section or `inputs.synth`", stage)
    for stage in recipe.trained:
        before = "".join(f"an `{name}:` section, `inputs.{name}`, " for name in STAGES[stage].starts_from)
        if not before and not has_model:
            yield conflict("needs a model to start from: set model.path or model.init", stage)
        if before and recipe.start_of(stage) is None and recipe.model.path is None:
            yield conflict(f"needs a model to start from: {before}or model.path", stage)


def _starting_points(recipe: Recipe) -> Iterator[Conflict]:
    """The folders that the run starts from hold what they should."""
    if recipe.model.path is not None and looks_local(recipe.model.path) and not _is_only_served(recipe):
        yield from refusals("model.path", by=partial(_check_start, recipe, Path(recipe.model.path)))
    if recipe.model.chat_template is not None:
        yield from refusals("model.chat_template", by=partial(check_chat_template, recipe.model.chat_template))
    for stage in KEYED:
        if getattr(recipe.inputs, stage) is not None:
            yield from refusals(f"inputs.{stage}", by=partial(_check_input, recipe, stage))


def _check_start(recipe: Recipe, folder: Path) -> None:
    check_model_folder(folder)
    has_template = recipe.model.chat_template is not None or has_chat_template(folder)
    if not has_template and _renders_messages(recipe):
        raise InputError(f"the tokenizer of {recipe.model.path} {NO_TEMPLATE}")


def _check_input(recipe: Recipe, stage: StageName) -> None:
    folder = recipe.input_folder(stage)
    key_of_result(folder)
    if stage == "synth":
        check_tables(folder)
    else:
        check_model_folder(folder / "model")


def _splits(recipe: Recipe) -> Iterator[Conflict]:
    if recipe.synth is None:
        return
    uses = set(uses_of(recipe.synth).values())
    published = {"sft": "x-coder-sft-376k", "rl": "x-coder-rl-40k"}
    for stage, use in (("sft", "sft"), ("grpo", "rl")):
        if recipe.has(stage) and use not in uses:  # type: ignore[arg-type]
            if recipe.synth.imports:
                yield conflict(f"`{stage}` needs an import of source {published[use]}", "synth.import")
            else:
                yield conflict(f"`{stage}` needs a split with `use: {use}`", "synth.splits")


def _held_out_tasks(recipe: Recipe) -> Iterator[Conflict]:
    """What reads held-out tasks, where the synthesis keeps none."""
    sft, grpo, evaluation = recipe.sft, recipe.grpo, recipe.evaluation
    readers = {
        "evaluation.benchmarks": evaluation is not None and "heldout" in evaluation.benchmarks,
        "sft.evaluation": sft is not None and sft.evaluation is not None,
        "grpo.evaluation": grpo is not None and grpo.evaluation is not None,
    }
    uses, where = {"evaluation"}, "inputs.synth"
    if recipe.synth is not None:
        uses, where = set(uses_of(recipe.synth).values()), "synth.splits"
    elif recipe.inputs.synth is not None and any(readers.values()):
        with suppress(InputError, OSError):  # `_starting_points` reports one that cannot be read
            members = read_records(SynthLayout(recipe.input_folder("synth")).memberships, Membership)
            uses = {member.use for member in members}
    for path, reads in readers.items() if "evaluation" not in uses else ():
        if reads:
            reader = "the benchmark `heldout`" if path == "evaluation.benchmarks" else path
            yield conflict(f"{reader} needs a split with `use: evaluation`, and {where} has none", path)


def _read_files(recipe: Recipe) -> Iterator[Conflict]:
    """The files that synthesis reads are there."""
    if recipe.synth is None:
        return
    source = feature_file(recipe.synth.features)
    if source is not None and not source.is_file():
        yield conflict("there is no such file", "synth.features.source.path")
    for path in recipe.synth.cleaning.decontaminate:
        if not path.is_file():
            yield conflict(f"there is no file {path}", "synth.cleaning.decontaminate")
    for place, item in enumerate(recipe.synth.imports):
        yield from refusals("synth.import", place, by=partial(local_files, item))


def _evaluation(recipe: Recipe) -> Iterator[Conflict]:
    settings = recipe.evaluation
    if settings is None:
        return
    beyond = [k for k in settings.k if not 1 <= k <= settings.samples]
    if beyond:
        yield conflict(
            f"pass@{beyond[0]} cannot be estimated from {settings.samples} samples; every k must lie between 1 and "
            "evaluation.samples",
            "evaluation.k",
        )
    for model in settings.models:
        stage = TRAINING[model].name if model in TRAINING else None
        if stage is not None and not recipe.has_result(stage):
            yield conflict(
                f"`{model}` is what the stage `{stage}` trains: give a `{stage}:` section or `inputs.{stage}`, "
                "or leave it out",
                "evaluation.models",
            )
    if "base" in settings.models and not has_base(recipe):
        yield conflict(
            "`base` is the model before training: set model.path, or model.init with an `sft:` section that makes it",
            "evaluation.models",
        )
    if "heldout" in settings.benchmarks and not recipe.has_result("synth"):
        yield conflict(
            "`heldout` is made by synthesis: give a `synth:` section or `inputs.synth`", "evaluation.benchmarks"
        )
    server = settings.generation.openai
    if settings.generation.backend == "openai" and server is not None and server.model and len(settings.models) > 1:
        yield conflict(
            f"the server's model {server.model!r} would be measured {len(settings.models)} times over; name one model, "
            "or leave openai.model out where the server knows each by its path",
            "evaluation.models",
        )
    for index, benchmark in enumerate(settings.benchmarks):
        files_of = partial(benchmark_files, benchmark, settings.livecodebench_folder)
        yield from refusals("evaluation.benchmarks", index, by=files_of)
    names = [benchmark_name(name) for name in settings.benchmarks]
    if len(set(names)) < len(names):
        yield conflict(
            f"two benchmarks have the same name among {', '.join(names)}; rename a file", "evaluation.benchmarks"
        )


def _context(recipe: Recipe) -> Iterator[Conflict]:
    try:
        shape = model_shape(recipe.model)
    except InputError as error:
        yield conflict(str(error), "model.path")
        return
    for path, room in teacher_room(recipe).items():
        yield from _new_tokens(recipe, path, room)
    context = model_context(recipe) if shape is None else shape.context
    if context is None:
        return
    for stage, settings in recipe.trained.items():
        if isinstance(settings, SftSettings) and settings.max_length > context:
            said = f"rows of {settings.max_length} tokens do not fit the model's context of {context}"
            yield conflict(said, f"{stage}.max_length")
    grpo = recipe.grpo
    if grpo is not None and grpo.max_prompt_length + grpo.max_completion_length > context:
        yield conflict(
            f"max_prompt_length ({grpo.max_prompt_length}) + max_completion_length ({grpo.max_completion_length}) = "
            f"{grpo.max_prompt_length + grpo.max_completion_length} tokens do not fit the model's context of {context}",
            "grpo.max_completion_length",
        )
    if recipe.evaluation is not None:
        longest = min(recipe.evaluation.generation.max_model_len or context, context)
        yield from _new_tokens(recipe, "evaluation.sampling.max_new_tokens", longest)


def _new_tokens(recipe: Recipe, path: str, room: int) -> Iterator[Conflict]:
    new = value_at(recipe, path)
    if new >= room:
        yield conflict(
            f"{new} new tokens leave no room for a prompt in a context of {room}: set {path} to less, or leave it out, "
            "and answers end where the context does",
            path,
        )


def _renders_messages(recipe: Recipe) -> bool:
    """False where all that a model is asked is a text to continue."""
    return bool(recipe.trained) or (recipe.evaluation is not None and recipe.evaluation.prompt != FEW_SHOT)


def _is_only_served(recipe: Recipe) -> bool:
    """True where the model is nothing but a name that a server knows."""
    evaluation = recipe.evaluation
    return not recipe.trained and evaluation is not None and evaluation.generation.backend == "openai"
