"""Values that TRL's types let through and training does not: they would end a stage after all that comes before it.

Ranges and names here are those that transformers, TRL and torch check once the model is loaded, or never.
"""

from collections.abc import Callable, Mapping
from typing import Any

_Range = tuple[str, Callable[[float], bool]]

_ABOVE_0: _Range = ("a number above 0", lambda value: value > 0)
_FROM_0: _Range = ("a number of at least 0", lambda value: value >= 0)
_FROM_1: _Range = ("a number of at least 1", lambda value: value >= 1)
_0_TO_BELOW_1: _Range = ("a number of at least 0 and below 1", lambda value: 0 <= value < 1)
_0_TO_1: _Range = ("a number from 0 to 1", lambda value: 0 <= value <= 1)
_ABOVE_0_TO_1: _Range = ("a number above 0 and at most 1", lambda value: 0 < value <= 1)
_STEPS: _Range = (
    "a whole number of steps above 0, or below 1 a share of all steps",
    lambda value: value > 0 and (value < 1 or value == int(value)),
)
_WARMUP: _Range = (
    "a whole number of steps, or below 1 a share of all steps",
    lambda value: value >= 0 and (value < 1 or value == int(value)),
)
_LENGTH: _Range = ("a number of steps above 0, or -1 to train for num_train_epochs", lambda v: v == -1 or v > 0)

_RANGES: dict[str, _Range] = {
    "learning_rate": _ABOVE_0,
    "max_steps": _LENGTH,
    "num_train_epochs": _ABOVE_0,
    "warmup_steps": _WARMUP,
    "logging_steps": _STEPS,
    "save_steps": _STEPS,
    "save_total_limit": _FROM_1,
    "adam_beta1": _0_TO_BELOW_1,
    "adam_beta2": _0_TO_BELOW_1,
    "adam_epsilon": _FROM_0,
    "weight_decay": _FROM_0,
    "max_grad_norm": _FROM_0,
    "label_smoothing_factor": _0_TO_1,
    "neftune_noise_alpha": _FROM_0,
    "dataloader_num_workers": _FROM_0,
    "ddp_timeout": _ABOVE_0,
    # GRPO
    "beta": _FROM_0,
    "epsilon": _ABOVE_0,
    "epsilon_high": _ABOVE_0,
    "delta": _ABOVE_0,
    "num_iterations": _FROM_1,
    "min_p": _0_TO_1,
    "repetition_penalty": _ABOVE_0,
    "top_entropy_quantile": _ABOVE_0_TO_1,
    "vllm_gpu_memory_utilization": _ABOVE_0_TO_1,
    "vllm_tensor_parallel_size": _FROM_1,
}

_NO_EVALUATION = (
    "the section's `evaluation` (sft.evaluation, grpo.evaluation) decides when training is evaluated, and no step "
    "depends on the result. Leave it out"
)
_EXACT_RESUME = "an interrupted run could not go on exactly where it was. Leave it out"
_NO_REFERENCE_KEPT = f"a checkpoint does not hold a reference model that moves, so {_EXACT_RESUME}"
_NO_UPLOAD = "a run uploads nothing; take the finished model from the stage's folder. Leave it out"

# The only value that each may have, and why.
_OFF: dict[str, tuple[Any, str]] = {
    "eval_strategy": ("no", _NO_EVALUATION),
    "eval_on_start": (False, _NO_EVALUATION),
    "do_eval": (False, _NO_EVALUATION),
    "load_best_model_at_end": (False, _NO_EVALUATION),
    "ignore_data_skip": (False, _EXACT_RESUME),
    "save_only_model": (False, _EXACT_RESUME),
    "sync_ref_model": (False, _NO_REFERENCE_KEPT),
    "push_to_hub": (False, _NO_UPLOAD),
    "log_completions_hub_repo": (None, _NO_UPLOAD),
}
_OF_EVALUATION = {"save_strategy": ("best",), "lr_scheduler_type": ("reduce_lr_on_plateau", "greedy")}

# Schedules that stop without one of these in lr_scheduler_kwargs.
_NEEDED_BY_SCHEDULE = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}
_EXAMPLES = {"min_lr_rate": "{min_lr_rate: 0.1}", "num_decay_steps": "{num_decay_steps: 100}"}


def value_mistake(name: str, value: Any) -> str | None:
    """What is wrong with a value of the right type; None when it can be trained with."""
    if name in _OFF and value != _OFF[name][0]:
        return _OFF[name][1]
    if value in _OF_EVALUATION.get(name, ()):
        return _NO_EVALUATION
    if name in _RANGES and isinstance(value, int | float):
        expected, holds = _RANGES[name]
        return None if holds(value) else f"expected {expected}"
    return None


def schedule_mistake(training: Mapping[str, Any]) -> str | None:
    """What the learning rate's schedule lacks; None when it is complete."""
    needed = _NEEDED_BY_SCHEDULE.get(training.get("lr_scheduler_type", ""), ())
    given = training.get("lr_scheduler_kwargs") or {}
    if not needed or isinstance(given, str) or sum(name in given for name in needed) == 1:
        return None
    return f"needs lr_scheduler_kwargs with {' or '.join(needed)}, such as {_EXAMPLES[needed[-1]]}"
