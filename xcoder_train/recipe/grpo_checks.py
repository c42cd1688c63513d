"""Conflicts between the settings of GRPO: its loss, its rollouts, its judge and its prompts."""

from collections.abc import Iterator
from functools import partial

from xcoder_train.grpo.rollout_files import stored_rollouts
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.recipe.schema import Conflict, Recipe, conflict, refusals
from xcoder_train.training.settings import GrpoTraining

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
# Settings of vLLM's that change which tokens are likely. Its log-probabilities are those after the change, the
# trainer's are those before it, so every importance ratio would be wrong.
_RESHAPING = (
    "allowed_token_ids bad_words frequency_penalty logit_bias logits_processors min_tokens presence_penalty "
    "structured_outputs"
).split()
_VESPO_CORRECTS_BY = ("token_truncate", "token_mask")

_NOT_OF_OUR_SAMPLER = ("min_p", "generation_kwargs", "cache_implementation", "use_transformers_continuous_batching")

# What has no effect on rollouts that another run has stored.
_CLASHES_WITH_STORED = {
    "generation": "nothing is sampled with rollouts_from: leave it at transformers",
    "curriculum": "rollouts_from decides the prompts and their order",
    "online_rates": "rollouts_from decides the prompts and their order",
    "keep_rollouts": "rollouts_from names rollouts that are kept already",
}


def grpo_conflicts(recipe: Recipe) -> Iterator[Conflict]:
    """Conflicts of GRPO: of its loss, of what makes rollouts, of what judges them, of its prompts."""
    if recipe.grpo is not None:
        yield from _loss(recipe.grpo)
        yield from _rollouts(recipe.grpo)
        yield from _lengths(recipe.grpo)
        yield from _prompts(recipe, recipe.grpo)
        yield from _groups(recipe.grpo)


def _loss(grpo: GrpoSettings) -> Iterator[Conflict]:
    training = grpo.training
    times = {"updates_per_rollouts": grpo.updates_per_rollouts, "num_iterations": training.num_iterations}
    factors = " x ".join(name for name, factor in times.items() if factor > 1)
    if factors and training.save_strategy == "steps" and training.save_steps % grpo.steps_per_set:
        yield conflict(
            "a checkpoint inside a generation window cannot be resumed exactly: save_steps "
            f"({training.save_steps:g}) must be divisible by {factors} ({grpo.steps_per_set})",
            "grpo.training.save_steps",
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
    mode, trl = training.vllm_importance_sampling_mode, training.trl
    if mode == "geometric_mask" and not trl.get("vllm_importance_sampling_correction", True):
        yield conflict(
            "masks nothing with training.trl.vllm_importance_sampling_correction: false",
            "grpo.training.vllm_importance_sampling_mode",
        )
    if mode != "geometric_mask" and training.vllm_geometric_bounds != GrpoTraining().vllm_geometric_bounds:
        yield conflict(
            f"has no effect with vllm_importance_sampling_mode: {mode}", "grpo.training.vllm_geometric_bounds"
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
    if way != "transformers":
        yield from _reshaped(grpo)
    if way != "vllm_colocate" and grpo.max_num_seqs is not None:
        yield conflict(f"has no effect with generation: {way}", "grpo.max_num_seqs")
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


def _reshaped(grpo: GrpoSettings) -> Iterator[Conflict]:
    """Rollouts of vLLM that would come from another distribution than the one that is trained."""
    trl = grpo.training.trl
    given = trl.get("generation_kwargs")
    values_and_neutral = {
        "top_p": (grpo.top_p, 1),
        "top_k": (grpo.top_k, 0),
        "training.repetition_penalty": (grpo.training.repetition_penalty, 1),
        "training.trl.min_p": (trl.get("min_p") or 0, 0),
        "training.trl.vllm_structured_outputs_regex": (trl.get("vllm_structured_outputs_regex"), None),
    }
    changed = [path for path, (value, neutral) in values_and_neutral.items() if value != neutral]
    names = given if isinstance(given, dict) else ()
    changed += [f"training.trl.generation_kwargs.{name}" for name in names if name in _RESHAPING]
    for path in changed:
        yield conflict(
            "vLLM's log-probabilities would be those among the tokens that this leaves likely, and the trainer's are "
            "those among all tokens: every importance ratio would be wrong. Leave it out; temperature is the one that "
            "both apply",
            f"grpo.{path}",
        )


def _lengths(grpo: GrpoSettings) -> Iterator[Conflict]:
    longest, last = grpo.max_completion_length, grpo.training.max_steps
    for step, tokens in grpo.lengths:
        if tokens > longest:
            yield conflict(f"{tokens} tokens are more than max_completion_length ({longest})", "grpo.lengths")
        if 0 < last <= step:
            yield conflict(f"step {step} is never reached: training.max_steps is {last}", "grpo.lengths")
    overlong = grpo.reward.overlong
    shortest = min([longest, *(tokens for _, tokens in grpo.lengths)])
    if overlong is not None and overlong.tokens >= shortest:
        yield conflict(
            f"a penalty over the last {overlong.tokens} tokens before a limit of {shortest} would meet all completions",
            "grpo.reward.overlong.tokens",
        )


def _prompts(recipe: Recipe, grpo: GrpoSettings) -> Iterator[Conflict]:
    if recipe.synth is not None:
        splits = recipe.synth.splits.values()
        tasks = sum(split.tasks for split in splits if split.use == "rl")
        if tasks > 0:  # none at all: another conflict, or an import
            yield from refusals("grpo.prompts_per_step", by=partial(grpo.refuse_too_few, tasks, "tasks for rl"))
        if tasks == grpo.prompts_per_set and grpo.online_rates is not None:
            yield conflict(f"chooses nothing: all {tasks} tasks for rl are asked at once", "grpo.online_rates")
    path, bands = grpo.measuring.pass_rates, grpo.measuring.bands
    if path is not None and not path.is_file():
        yield conflict("there is no such file; without it the run measures them itself", "grpo.curriculum.pass_rates")
    if bands and (path is not None or len(set(bands)) < len(bands)):
        yield conflict("order the prompts: name each once, and leave pass_rates out", "grpo.curriculum.bands")
    bins = {} if recipe.synth is None or recipe.synth.imports else recipe.synth.difficulty.bins
    if bins and not bins.keys() >= set(bands):
        yield conflict(f"expected bins of synth.difficulty: {', '.join(bins)}", "grpo.curriculum.bands")
    longest, needed = grpo.measuring.generation.max_model_len, grpo.max_prompt_length + grpo.max_completion_length
    if longest is not None and longest < needed:
        yield conflict(
            f"is less than max_prompt_length + max_completion_length = {needed}, so completions would be cut short",
            "grpo.curriculum.generation.max_model_len",
        )


def _groups(grpo: GrpoSettings) -> Iterator[Conflict]:
    dynamic, folder, way = grpo.dynamic_sampling, grpo.rollouts_from, grpo.generation
    if dynamic is not None and dynamic.rounds == 1 and dynamic.oversample == 1:
        yield conflict(
            "replaces nothing: one round asks for as many prompts as a step needs; set rounds or oversample above 1",
            "grpo.dynamic_sampling",
        )
    is_corrected = way == "transformers" or grpo.training.trl.get("vllm_importance_sampling_correction", True)
    if dynamic is not None and not is_corrected:
        yield conflict(
            "a step may train on groups that the step before sampled, and without "
            "training.trl.vllm_importance_sampling_correction they would count as the policy's own",
            "grpo.dynamic_sampling",
        )
    if folder is not None:
        yield from refusals("grpo.rollouts_from", by=partial(stored_rollouts, folder))
        for name, why in _CLASHES_WITH_STORED.items():
            if getattr(grpo, name) != GrpoSettings.model_fields[name].default:
                yield conflict(why, f"grpo.{name}")
    batch, group, processes = grpo.vllm_batch, grpo.rollouts, grpo.launch.processes
    if batch is not None and way == "transformers":
        yield conflict("has no effect with generation: transformers, which has rollout_batch", "grpo.vllm_batch")
    if batch is not None and way == "vllm_server" and (batch % group or grpo.prompts_per_set % processes):
        yield conflict(
            f"a server samples whole groups: vllm_batch ({batch}) must be divisible by rollouts ({group}), and "
            f"the prompts of a set ({grpo.prompts_per_set}) by launch.processes ({processes})",
            "grpo.vllm_batch",
        )
