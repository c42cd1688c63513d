"""Which arguments trl.SFTConfig and trl.GRPOConfig take, checked without importing them.

TRL checks names late, types hardly and allowed values after the model is loaded, and building its configuration
initialises devices. The table in `trl_arguments.json` holds what a recipe's `training:` may say; it is made from the
installed TRL by `python -m xcoder_train.trl_arguments`, and a test compares the two.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_text
from xcoder_train.trl_values import value_mistake

Trainer = Literal["sft", "grpo"]
Config = TypeVar("Config")

TABLE = Path(__file__).with_name("trl_arguments.json")

_RENAMED = {
    "warmup_ratio": "use `warmup_steps`, where a number below 1 is a share of the steps, such as warmup_steps: 0.03",
    "evaluation_strategy": "it is now called `eval_strategy`",
    "gradient_checkpointing": "it is now called `activation_checkpointing`",
    "gradient_checkpointing_kwargs": "it is now called `activation_checkpointing_kwargs`",
    "group_by_length": "use `train_sampling_strategy: group_by_length`",
    "no_cuda": "it is now called `use_cpu`",
    "overwrite_output_dir": "leave it out; a run folder is never overwritten",
    "logging_dir": "leave it out; metrics go to the run folder",
    "save_safetensors": "leave it out; safetensors is the only format",
    "push_to_hub_token": "it is now called `hub_token`",
    "jit_mode_eval": "it was removed; leave it out",
    "torch_dtype": "set `bf16: true` for computation; weights load in the precision that fits it",
    "use_liger_kernel": "leave it out; TRL's loss is fused already",
    "use_liger_loss": "leave it out; TRL's loss is fused already",
    "vllm_guided_decoding_regex": "it is now called `vllm_structured_outputs_regex`",
    "vllm_importance_sampling_cap": "it is now called `vllm_importance_sampling_clip_max`",
    "use_transformers_paged": "it is now called `use_transformers_continuous_batching`",
    "pad_token": "set it in the model's tokenizer; TRL is about to drop it",
}

_DECIDED_BY_BOTH = {
    "output_dir": "the run folder (`runs_dir`, `name`)",
    "run_name": "`name`",
    "project": "`tracking.project`",
    "report_to": "`tracking.wandb`",
    "seed": "`seed`",
    "data_seed": "`seed`",
    "trust_remote_code": "`model.trust_remote_code`",
    "model_init_kwargs": "`model`",
    "per_device_train_batch_size": "`{section}.micro_batch`",
    "auto_find_batch_size": "`{section}.micro_batch`",
    "resume_from_checkpoint": "`{section}.resume`",
    "deepspeed": "`{section}.launch.accelerate`",
    "fsdp": "`{section}.launch.accelerate`",
    "fsdp_config": "`{section}.launch.accelerate`",
    "use_cpu": "the machine: a GPU is used where there is one",
    "disable_tqdm": "the stage, which has a progress bar of its own",
}
DECIDED = {
    "sft": _DECIDED_BY_BOTH
    | {
        "gradient_accumulation_steps": "`sft.batch`",
        "max_length": "`sft.max_length`",
        "max_seq_length": "`sft.max_length`",
        "packing": "`sft.packing`",
        "packing_strategy": "`sft.packing`, which keeps examples apart",
        "eval_packing": "`sft.packing`",
        "pad_to_multiple_of": "`sft.launch.accelerate`, where rows are split",
        "truncation_mode": "`sft.truncation_limit`; examples are left out, never cut",
        "completion_only_loss": "the stage: prompts are read and answers are learned",
        "assistant_only_loss": "the stage: prompts are read and answers are learned",
        "eos_token": "the tokenizer, whose end of turn every answer gets",
        "chat_template_path": "the tokenizer's chat template, so that SFT, GRPO and evaluation read the same prompt",
        "dataset_num_proc": "the stage, which tokenises in one process",
        "dataset_kwargs": "the stage, which tokenises itself",
        "dataset_text_field": "the dataset that synthesis makes",
        "eval_steps": "`sft.evaluation`",
        "per_device_eval_batch_size": "the stage, which evaluates one solution at a time, without padding",
    },
    "grpo": _DECIDED_BY_BOTH
    | {
        "gradient_accumulation_steps": "`grpo.prompts_per_step`",
        "generation_batch_size": "`grpo.prompts_per_step`",
        "steps_per_generation": "`grpo.prompts_per_step`",
        "num_generations": "`grpo.rollouts`",
        "max_prompt_length": "`grpo.max_prompt_length`",
        "max_completion_length": "`grpo.max_completion_length`",
        "temperature": "`grpo.temperature`",
        "top_p": "`grpo.top_p`",
        "top_k": "`grpo.top_k`",
        "use_vllm": "`grpo.generation`",
        "shuffle_dataset": "`grpo.curriculum`",
        "chat_template_kwargs": "the tokenizer's chat template, so that SFT, GRPO and evaluation read the same prompt",
        "eval_steps": "`grpo.evaluation`",
        "num_generations_eval": "`grpo.evaluation`",
        "per_device_eval_batch_size": "`grpo.rollout_batch`",
        "num_completions_to_print": "the stage: completions go to a table, none to the terminal",
        "vllm_mode": "`grpo.generation`",
        "reward_weights": "`grpo.reward`",
        "remove_unused_columns": "the reward, which reads the problem's identity from a column",
    },
}

# Named in TRL's help and code, never checked before the first loss (trl/trainer/grpo_trainer.py, sft_trainer.py).
_CHOICES = {
    "sft": {
        "loss_type": ["nll", "dft"],
    },
    "grpo": {
        "loss_type": ["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"],
        "importance_sampling_level": ["token", "sequence"],
        "scale_rewards": ["group", "batch", "none"],
        "multi_objective_aggregation": ["sum_then_normalize", "normalize_then_sum"],
        "vllm_importance_sampling_mode": ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"],
        "vllm_model_impl": ["vllm", "transformers"],
    },
}
_HINTS = {
    ("grpo", "loss_type", "gspo"): "GSPO is `importance_sampling_level: sequence` with `loss_type: grpo`",
}

_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "none": "null",
}


@dataclass(frozen=True)
class Argument:
    """One argument: the JSON types that it takes, the values where they are enumerated, and TRL's default."""

    types: tuple[str, ...]
    choices: tuple[str, ...] | None
    default: Any


@cache
def arguments(trainer: Trainer) -> Mapping[str, Argument]:
    """Every argument that the trainer's configuration takes."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))[trainer]
    return {
        name: Argument(tuple(entry["types"]), _choices(trainer, name, entry.get("choices")), entry.get("default"))
        for name, entry in table.items()
    }


def settable(trainer: Trainer) -> list[str]:
    """The arguments that a recipe may set under `training:`."""
    return [name for name in arguments(trainer) if name not in DECIDED[trainer] and name not in _RENAMED]


def argument_mistake(trainer: Trainer, name: str, value: Any) -> str | None:
    """What is wrong with `training.<name>: <value>`, with the way out; None when it can be handed to TRL."""
    if name in DECIDED[trainer]:
        return f"is decided by {DECIDED[trainer][name].format(section=trainer)}"
    if name in _RENAMED:
        return f"is not an argument any more: {_RENAMED[name]}"
    known = arguments(trainer)
    if name not in known:
        near = get_close_matches(name, settable(trainer), 1)
        return f"is not an argument of {_CONFIG[trainer]}" + (f"; did you mean `{near[0]}`?" if near else "")
    argument = known[name]
    if argument.choices is not None and isinstance(value, str) and value not in argument.choices:
        hint = _HINTS.get((trainer, name, value))
        near = get_close_matches(value, argument.choices, 1)
        said = f"; {hint}" if hint else (f"; did you mean `{near[0]}`?" if near else "")
        return f"expected one of {', '.join(argument.choices)}{said}"
    if not _fits(value, argument.types):
        return f"expected {' or '.join(_TYPE_NAMES[kind] for kind in argument.types)}"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    return value_mistake(name, value)


def built(config: Callable[..., Config], trainer: Trainer, values: Mapping[str, Any]) -> Config:
    """TRL's configuration; what only it can refuse (a precision that this machine lacks, …) is an InputError too."""
    try:
        return config(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"{trainer}.training: {_CONFIG[trainer]} refuses it: {error}") from error


_CONFIG = {"sft": "trl.SFTConfig", "grpo": "trl.GRPOConfig"}


def _choices(trainer: Trainer, name: str, generated: list[str] | None) -> tuple[str, ...] | None:
    stated = _CHOICES[trainer].get(name, generated)
    return None if stated is None else tuple(stated)


def _fits(value: Any, types: tuple[str, ...]) -> bool:
    if isinstance(value, bool):
        return "bool" in types
    if isinstance(value, int):
        return "int" in types or "float" in types
    kinds = {float: "float", str: "str", list: "list", tuple: "list", dict: "dict", type(None): "none"}
    return kinds.get(type(value)) in types


def table_of_installed() -> dict[str, Any]:
    """The table as the installed TRL and transformers have it. Imports torch."""
    import transformers
    import trl

    versions = {"trl": trl.__version__, "transformers": transformers.__version__}
    return {"versions": versions, "sft": _read(trl.SFTConfig), "grpo": _read(trl.GRPOConfig)}


def _read(config: type) -> dict[str, Any]:
    import dataclasses

    table = {}
    for field in sorted(dataclasses.fields(config), key=lambda field: field.name):
        types, choices = _types_of(field.type)
        entry: dict[str, Any] = {"types": sorted(types)}
        stated = choices or list(field.metadata.get("choices", ()))
        if stated:
            entry["choices"] = stated
        if isinstance(field.default, str | int | float | None):
            entry["default"] = getattr(field.default, "value", field.default)
        if field.init and types:
            table[field.name] = entry
    return table


def _types_of(annotation: Any) -> tuple[set[str], list[str]]:
    """JSON types of an annotation, and the values of an enumeration in it; other classes are left out."""
    import enum
    import types
    import typing

    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        found: set[str] = set()
        choices: list[str] = []
        for part in typing.get_args(annotation):
            inner, values = _types_of(part)
            found |= inner
            choices += values
        return found, choices
    if origin is typing.Literal:
        return {type(value).__name__ for value in typing.get_args(annotation)}, []
    if annotation is type(None):
        return {"none"}, []
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return {"str"}, [member.value for member in annotation]
    name = (origin or annotation).__name__
    return ({name}, []) if name in _TYPE_NAMES else (set(), [])


if __name__ == "__main__":
    write_text(TABLE, json.dumps(table_of_installed(), indent=1, sort_keys=True) + "\n")
