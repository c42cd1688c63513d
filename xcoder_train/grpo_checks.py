"""Conflicts between the settings of GRPO's rollouts, its judge and its data; nothing here touches a device."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xcoder_train.recipe import Recipe

_VLLM_OF_COLOCATE = (
    "vllm_gpu_memory_utilization",
    "vllm_tensor_parallel_size",
    "vllm_enable_sleep_mode",
    "vllm_max_model_length",
    "vllm_model_impl",
)
_VLLM_OF_SERVER = (
    "vllm_server_base_url",
    "vllm_server_host",
    "vllm_server_port",
    "vllm_server_timeout",
    "vllm_group_port",
)

_NOT_OF_OUR_SAMPLER = ("min_p", "generation_kwargs", "cache_implementation", "use_transformers_continuous_batching")


def rollout_conflicts(recipe: "Recipe") -> Iterator[tuple[str, ...]]:
    """Conflicts of what makes rollouts and judges them: each a message and the dotted paths that it is about."""
    grpo = recipe.grpo
    if grpo is None:
        return
    training, way = grpo.training, grpo.generation
    unread = {
        "transformers": [name for name in training if name.startswith("vllm_") or name in _NOT_OF_OUR_SAMPLER],
        "vllm_colocate": [name for name in _VLLM_OF_SERVER if name in training],
        "vllm_server": [name for name in _VLLM_OF_COLOCATE if name in training],
    }[way]
    for name in unread:
        where = (
            "; give it to the server when you start it" if name in _VLLM_OF_COLOCATE and way == "vllm_server" else ""
        )
        yield (f"has no effect with generation: {way}{where}", f"grpo.training.{name}", "grpo.generation")
    over = training.get("vllm_tensor_parallel_size", 1)
    if way == "vllm_colocate" and isinstance(over, int) and over > 0 and grpo.launch.processes % over:
        yield (
            f"vllm_tensor_parallel_size ({over}) must divide launch.processes ({grpo.launch.processes})",
            "grpo.training.vllm_tensor_parallel_size",
            "grpo.launch.processes",
        )
    longest, needed = training.get("vllm_max_model_length"), grpo.max_prompt_length + grpo.max_completion_length
    if way == "vllm_colocate" and isinstance(longest, int) and longest < needed:
        yield (
            f"vllm_max_model_length ({longest}) is less than max_prompt_length ({grpo.max_prompt_length}) + "
            f"max_completion_length ({grpo.max_completion_length}) = {needed}, so rollouts would be cut short",
            "grpo.training.vllm_max_model_length",
            "grpo.max_prompt_length",
            "grpo.max_completion_length",
        )
    patience = training.get("ddp_timeout", 1800)
    if isinstance(patience, int | float) and 2 * grpo.reward.deadline_seconds > patience:
        yield (
            f"deadline_seconds ({grpo.reward.deadline_seconds:g}) must be at most half of training.ddp_timeout "
            f"({patience:g} s), or the processes that wait for one judge are taken for dead",
            "grpo.reward.deadline_seconds",
            "grpo.training.ddp_timeout",
        )
    splits = () if recipe.synth is None else recipe.synth.splits.values()
    if grpo.evaluation is not None and recipe.synth is not None and all(split.use != "evaluation" for split in splits):
        yield ("needs a split with `use: evaluation`", "grpo.evaluation", "synth.splits")
    path = None if grpo.curriculum is None else grpo.curriculum.pass_rates
    if path is not None and not path.is_file():
        yield ("there is no such file", "grpo.curriculum.pass_rates")
