"""What we use of TRL and transformers that they may change without a word: private names, and messages that we drop.

Every such use in this project has its row here. A version that lacks one is refused before anything is trained.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name

from xcoder_core.errors import EnvironmentLacks

_GRPO, _SFT = "trl:GRPOTrainer", "trl:SFTTrainer"
_ENGINE = "trl.generation.vllm_generation:VLLMGeneration"


@dataclass(frozen=True)
class PrivateName:
    """A name of a class or module, or a text in its module's source, by where it stands (`module:object`)."""

    owner: str
    name: str
    why: str

    def is_there(self) -> bool:
        """Whether the installed version has it, also where only its constructor sets it."""
        try:
            owner = resolve_name(self.owner)
        except (ImportError, AttributeError):
            return False
        if hasattr(owner, self.name):
            return True
        source = inspect.getsource(inspect.getmodule(owner) or owner)
        if not self.name.isidentifier():
            return self.name in source
        return re.search(rf"\bself\.{self.name}\b[^\n]* = ", source) is not None


PRIVATE_NAMES = (
    PrivateName(_GRPO, "_generate_and_score_completions", "called, and overridden to mask rollouts, and to log that"),
    PrivateName(_GRPO, "_prepare_inputs", "overridden: rollouts are put in order of length before they are divided"),
    PrivateName(_GRPO, "_get_per_token_logps_and_entropies", "overridden: an evaluation is scored a few at a time"),
    PrivateName(_GRPO, "_compute_loss", "overridden: columns that hold only padding are cut off"),
    PrivateName(_GRPO, "_buffered_inputs", "the micro-batches of a set of rollouts"),
    PrivateName(_GRPO, "_step", "which of these micro-batches comes next"),
    PrivateName(_GRPO, "_metrics", "takes a metric more, and loses those of micro-batches that teach nothing"),
    PrivateName(_GRPO, "_entropy_bonus_enabled", "whether a rollout without an advantage has a gradient all the same"),
    PrivateName(_GRPO, "aux_loss_enabled", "the same"),
    PrivateName(_GRPO, "beta", "the same"),
    PrivateName(_GRPO, "top_entropy_quantile", "whether the order of rollouts within a step is free"),
    PrivateName(_GRPO, "loss_type", "the same"),
    PrivateName(_GRPO, "num_iterations", "how many steps each set of rollouts is trained on"),
    PrivateName(_GRPO, "num_generations", "the size of a group"),
    PrivateName(_GRPO, "num_generations_eval", "the same in an evaluation"),
    PrivateName(_GRPO, "use_vllm", "whether vLLM makes the rollouts"),
    PrivateName(_GRPO, "_generate_single_turn", "called: vLLM's rollouts, with the weights as they are"),
    PrivateName(_GRPO, "async_loop", "the event loop in which TRL asks for rewards, and rollouts are judged"),
    PrivateName(_GRPO, '"old_per_token_logps"', "the old policy of rollouts that are older than the policy"),
    PrivateName(_GRPO, '"sampling_per_token_logps"', "what a `rollout_func`, or vLLM, says of its own tokens"),
    PrivateName(_GRPO, "vllm_generation", "vLLM in the trainer: its engine, and how long completions may be"),
    PrivateName(_ENGINE, "llm", "the engine, which held-out tasks are seeded by"),
    PrivateName(_GRPO, "log_completions", "put off while an evaluation logs"),
    PrivateName(_ENGINE, "max_completion_length", "a step's, where it has one"),
    PrivateName(_GRPO, '"importance_sampling_ratio"', "the weights of tokens, 0 where they are masked"),
    PrivateName(_GRPO, '"completion_mask"', "says where a completion ends"),
    PrivateName(_GRPO, '"TRL_EXPERIMENTAL_SILENCE"', "`rollout_func` is marked experimental"),
    PrivateName(_ENGINE, "generate", "looked at while it samples"),
    PrivateName(_ENGINE, "sync_weights", "timed, and replaced by adapters alone"),
    PrivateName(_ENGINE, "enable_sleep_mode", "the engine is woken for adapters"),
    PrivateName(_ENGINE, "_llm_weights_sleeping", "it is awake then"),
    PrivateName(_ENGINE, "_dist", "gathers adapters under DeepSpeed"),
    PrivateName(_ENGINE, "_fix_param_name_to_vllm", "names of adapters"),
    PrivateName(_ENGINE, "_iter_named_params", "replaced: adapters are added"),
    PrivateName("trl.generation.vllm_generation", "VLLMGeneration", "holds the engine whose cache is looked at"),
    PrivateName("trl.trainer.utils", "shuffle_sequence_dict", "mixes rollouts that several updates share"),
    PrivateName("trl.trainer.utils", "split_tensor_dict", "divides a set of rollouts into micro-batches"),
    PrivateName("trl.trainer.grpo_trainer", "All reward functions returned None", "dropped: it prints rollouts"),
    PrivateName("transformers:Trainer", "_save_rng_state", "the last that all processes write of a checkpoint"),
    PrivateName(_SFT, "_total_train_tokens", "taken from and to checkpoints; TRL counts from zero after a resume"),
    PrivateName(_SFT, "_metrics", "takes the rates of `Throughput`"),
    PrivateName(_SFT, '"fused_lm_head"', "the argument by which TRL asks for scores in place of logits"),
    PrivateName("trl.trainer.utils", "FusedCausalLMOutput", "what our scoring returns in place of TRL's"),
    PrivateName("transformers:PreTrainedModel", "_keys_to_ignore_on_save", "tied weights are no missing keys"),
    PrivateName("transformers:PreTrainedModel", "all_tied_weights_keys", "the same"),
    PrivateName("transformers:PreTrainedConfig", "_attn_implementation", "whether attention is torch's own kernel"),
    PrivateName(
        "transformers.integrations.sdpa_attention", "sdpa_attention_forward", "called for one example at a time"
    ),
    PrivateName("transformers.integrations", "rewrite_logs", "names metrics for W&B as its callback does"),
    PrivateName(
        "transformers.integrations.deepspeed", "unset_hf_deepspeed_config", "one process loads a model under ZeRO-3"
    ),
    PrivateName("transformers.trainer_callback", "ExportableState", "a callback whose state goes into checkpoints"),
    PrivateName("transformers.cache_utils", "DynamicLayer", "the base of a cache that grows in place"),
    PrivateName(
        "transformers.trainer_utils", "mtime may not be reliable", "dropped: steps say which checkpoint is newer"
    ),
)

_BOUND = "bounds the rollouts that an engine takes on to what its cache holds"
VLLM_NAMES = (
    PrivateName("vllm.v1.engine.core_client:InprocClient", "engine_core", _BOUND),
    PrivateName("vllm.v1.core.sched.scheduler:Scheduler", "max_num_running_reqs", _BOUND),
    PrivateName("vllm.config:CacheConfig", "num_gpu_blocks", "the size of the cache"),
    PrivateName("trl.generation.vllm_generation", "LLM", "makes the engine, with layers for adapters"),
    PrivateName("vllm.config.lora", "MaxLoRARanks", "the ranks of adapters that it has layers for"),
)
"""What we use where vLLM runs in the training process."""


def missing(names: Iterable[PrivateName]) -> Iterator[str]:
    """One sentence for each of the names that the installed version lacks."""
    for each in names:
        if not each.is_there():
            yield f"{each.owner.replace(':', '.')} has no {each.name} ({each.why})"


def require_private_names(names: Iterable[PrivateName] | None = None) -> None:
    """Raise `EnvironmentLacks` where the installed packages lack one of the names; those that all training uses."""
    lacking = list(missing(PRIVATE_NAMES if names is None else names))
    if lacking:
        raise EnvironmentLacks(
            f"the installed TRL, transformers or vLLM is not one that this version works with: {'; '.join(lacking)}. "
            "Install the versions that pyproject.toml asks for: pip install ."
        )
