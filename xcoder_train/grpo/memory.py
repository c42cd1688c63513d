"""What GRPO takes of one device: the trainer, and vLLM beside it with `generation: vllm_colocate`. No torch in here.

vLLM gets a share of the device. Its weights and its working memory come off, and keys and values get the rest
(`determine_available_memory` in vllm/v1/worker/gpu_worker.py). Asleep, it gives back its weights and its cache; so
while rollouts are sampled it stands beside the trainer's weights and optimiser, and while the policy is trained only
its working memory stands beside all of the trainer.
"""

import json
import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import product

from xcoder_core.errors import InputError
from xcoder_core.models.folder import ModelShape
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.training.memory import MemoryEstimate, estimate

GIB = 1 << 30
KEPT_FREE = 0.1
"""Of a device, for CUDA and NCCL, a gathered block of shards, and fragmentation. Only a share that the recipe gives may
go into it."""
WORKING = 2 * GIB
"""Of vLLM: activations of the 4,096 tokens that TRL lets it read at once, logits, graphs of kernels, libraries."""
_BFLOAT16 = 2  # what vLLM computes in on a GPU, also from weights that are stored in float32
_SLEEP, _SPLIT = "vllm_enable_sleep_mode", "vllm_tensor_parallel_size"


@dataclass(frozen=True)
class EngineMemory:
    """vLLM beside the trainer on one device, in bytes. Rollouts and `cache_tokens` are those of one engine, which
    `vllm_tensor_parallel_size` devices share. `share` is its `gpu_memory_utilization`."""

    device: int
    usable: int
    """What vLLM and the trainer may take together."""
    trainer_sampling: int
    """The trainer's weights and optimiser, which stay while rollouts are sampled."""
    trainer_training: int
    """All of the trainer at its peak."""
    weights: int
    bytes_per_token: int
    share: float
    sleeps: bool
    longest: int
    """Tokens of a prompt and a completion at most; those of a context that the recipe gives."""
    asked: int
    """Rollouts that the engine is handed at once."""

    @property
    def cache(self) -> int:
        """Bytes for keys and values."""
        return max(0, int(self.share * self.device) - self.weights - WORKING)

    @property
    def cache_tokens(self) -> int:
        """Tokens whose keys and values the engine can hold."""
        return self.cache // self.bytes_per_token

    @property
    def at_full_length(self) -> int:
        """Rollouts of the greatest length that the cache holds."""
        return self.cache_tokens // self.longest

    @property
    def sampling(self) -> int:
        """What is taken while rollouts are sampled: with a cache for one rollout of full length at least."""
        return self.trainer_sampling + max(
            int(self.share * self.device), self.weights + WORKING + self.longest * self.bytes_per_token
        )

    @property
    def training(self) -> int:
        """What is taken while the policy is trained."""
        return self.trainer_training + (WORKING if self.sleeps else self.weights + WORKING + self.cache)

    @property
    def fits(self) -> bool:
        """Whether both phases fit the device, and vLLM's share holds one rollout of full length."""
        return max(self.sampling, self.training) <= self.usable and self.at_full_length > 0


def rollouts_at_once(settings: GrpoSettings, cache_tokens: int | None, asked: int) -> int:
    """Rollouts that an engine decodes together: `max_num_seqs`, or as many as its cache holds half done (None: all).

    Rollouts that are in progress are half done on average. Where they are longer, vLLM preempts the newest ones. TRL
    makes an engine for no more than a set, whatever `oversample` asks for.
    """
    half_done = settings.max_prompt_length + settings.max_completion_length / 2
    held = asked if cache_tokens is None else max(1, int(cache_tokens / half_done))
    return min(asked, _on_engine(settings, settings.prompts_per_set), settings.max_num_seqs or held)


def rollouts_of_engine(settings: GrpoSettings) -> int:
    """Rollouts that one colocated engine is handed at once, in the first round of a set, which asks for most."""
    of_round = _on_engine(settings, settings.prompts_of_round(settings.prompts_per_set, settings.launch.processes))
    return min(of_round, (settings.vllm_batch or of_round) * settings.training.vllm_tensor_parallel_size)


def _on_engine(settings: GrpoSettings, prompts: int) -> int:
    """One engine's rollouts of so many prompts."""
    return prompts * settings.rollouts // settings.launch.processes * settings.training.vllm_tensor_parallel_size


def engine_memory(shape: ModelShape, settings: GrpoSettings, device: int) -> EngineMemory:
    """vLLM's share of a device of so many bytes, and whether it sleeps.

    It sleeps where that lets it hold more of the rollouts that it is asked for. What the recipe gives stays.
    """
    training, over = settings.training, settings.training.vllm_tensor_parallel_size
    trainer, given = estimate_grpo(shape, settings, on_gpu=True), training.vllm_gpu_memory_utilization
    stays, peak = trainer.weights + trainer.optimizer, trainer.total - trainer.key_value_cache
    adapters = 0 if settings.lora is None else settings.lora.parameters(shape)
    weights = (shape.parameters + adapters) * _BFLOAT16 // over
    bytes_per_token = 2 * shape.layers * math.ceil(shape.kv_heads / over) * shape.head_size * _BFLOAT16
    longest = training.vllm_max_model_length or settings.max_prompt_length + settings.max_completion_length
    asked = rollouts_of_engine(settings)
    usable = int(device * (1 - KEPT_FREE if given is None else 1))
    at_most = rollouts_at_once(settings, None, asked)
    useful = weights + WORKING + at_most * longest * bytes_per_token if given is None else int(given * device)
    sleeps = training.vllm_enable_sleep_mode
    if _SLEEP not in training.model_fields_set:
        sleeps = peak + useful > usable
    room = usable - (stays if sleeps else peak)
    share = given or max(0, min(room * 100 // device, math.ceil(useful * 100 / device))) / 100
    return EngineMemory(device, usable, stays, peak, weights, bytes_per_token, share, sleeps, longest, asked)


def fitting_engine(shape: ModelShape, settings: GrpoSettings, device: int) -> EngineMemory:
    """As `engine_memory`. Raises `InputError` with the arithmetic, and what would fit, where it does not fit."""
    memory = engine_memory(shape, settings, device)
    if memory.fits:
        return memory
    given = settings.training.vllm_gpu_memory_utilization
    share = "" if given is None else f", and vllm_gpu_memory_utilization gives vLLM {_gib(int(given * device))} of it"
    raise InputError(
        f"GRPO with vllm_colocate does not fit a device of {_gib(device)}, of which {_gib(memory.usable)} may be used"
        f"{share}. While sampling it takes {_gib(memory.sampling)}: {_gib(memory.trainer_sampling)} of the trainer, "
        f"vLLM's {_gib(memory.weights)} of weights and {_gib(WORKING)} of working memory, and at least "
        f"{_gib(memory.longest * memory.bytes_per_token)} of keys and values, for one rollout of {memory.longest:,} "
        f"tokens. While training it takes {_gib(memory.training)}: {_gib(memory.trainer_training)} of the trainer, and "
        f"vLLM {'asleep' if memory.sleeps else 'awake'}. {_what_fits(shape, settings, device)}"
    )


def _what_fits(shape: ModelShape, settings: GrpoSettings, device: int) -> str:
    """The change that takes least away, and the smallest device that needs none."""
    now = settings.training
    chosen: dict[str, object] = {"vllm_gpu_memory_utilization": None, "vllm_max_model_length": None, _SLEEP: True}
    freed = settings.model_copy(update={"training": now.model_copy(update=chosen)})
    larger = 1 + bisect_left(range(1, 4096), True, key=lambda gib: engine_memory(shape, freed, gib * GIB).fits)
    over, written = now.vllm_tensor_parallel_size, {*now.model_fields_set, _SPLIT}
    splits = [n for n in (1, 2, 4, 8) if n >= over and not settings.launch.processes % n and not shape.kv_heads % n]
    lengths = sorted({settings.max_completion_length, *range(1024, settings.max_completion_length, 1024)}, reverse=True)
    for length, rows, split in product(lengths, (settings.micro_batch, 1), splits):  # what is trained changes last
        training = freed.training.model_copy(update={"vllm_tensor_parallel_size": split})
        new = {"max_completion_length": length, "micro_batch": rows}
        if engine_memory(shape, settings.model_copy(update={**new, "training": training}), device).fits:
            keys = [f"grpo.{name}={value}" for name, value in new.items() if value != getattr(settings, name)]
            told = {name: {**chosen, _SPLIT: split}[name] for name in (*chosen, _SPLIT) if name in written}
            keys += [f"grpo.training.{name}={json.dumps(v)}" for name, v in told.items() if v != getattr(now, name)]
            return f"This fits: {' '.join(keys)}; or a device of {larger} GiB"
    adapters = "" if settings.lora is not None else "train adapters (grpo.lora), "
    return (
        f"No shorter rollouts fit: {adapters}shard over more processes (grpo.launch), give vLLM devices of its own "
        f"(grpo.generation: vllm_server), or take a device of {larger} GiB"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def estimate_grpo(shape: ModelShape, settings: GrpoSettings, *, on_gpu: bool) -> MemoryEstimate:
    """Memory of GRPO; vLLM's share of the device (`vllm_gpu_memory_utilization`) is not in it.

    With a KL term (`training.beta`) a second model stands beside the policy, unless adapters can be switched off.
    """
    longest = settings.max_prompt_length + settings.max_completion_length
    cached = _rows_decoded_together(settings) * longest
    policy = estimate(shape, settings, settings.micro_batch * longest, cached, on_gpu=on_gpu, is_quantized=False)
    has_reference = settings.training.beta != 0 and settings.lora is None
    return replace(policy, weights=2 * policy.weights) if has_reference else policy


def _rows_decoded_together(settings: GrpoSettings) -> int:
    """The most rows of which one process keeps keys and values: of a step, of held-out tasks."""
    if settings.generation != "transformers":
        return 0
    held_out = settings.evaluation
    tasks = 0 if held_out is None else held_out.tasks * held_out.samples
    rows = math.ceil(max(settings.prompts_per_set * settings.rollouts, tasks) / settings.launch.processes)
    return min(settings.rollout_batch, rows)
