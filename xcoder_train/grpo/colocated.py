"""vLLM's engine in the training process: its share of the GPU, the rollouts that it takes on, what held-out tasks draw.

TRL makes the engine, and would let it take on every rollout of a step, however few its cache holds; those that were
taken on last are then preempted and computed again. The bound is set on the engine's own scheduler, once its cache is
known.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.distributed.elastic.utils.distributed import get_free_port

from xcoder_core.models.folder import shape_at
from xcoder_core.seeds import derive_seed
from xcoder_train.grpo.memory import GIB, fitting_engine, rollouts_at_once, rollouts_of_engine
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams


def choose_port() -> None:
    """Give the engine a free port to listen at, where no launcher gave one.

    TRL tries the same few in every run, and two runs that start together would take the same one.
    """
    os.environ.setdefault("MASTER_PORT", str(get_free_port()))


def memory_arguments(settings: GrpoSettings, start: Path | str, device: torch.device) -> dict[str, object]:
    """vLLM's share of this GPU, and whether it sleeps, by TRL's names. Raises `InputError` where it cannot fit.

    Nothing on a CPU, where vLLM asks for its memory in another way, and for a model whose size is not known.
    """
    if settings.generation != "vllm_colocate" or device.type != "cuda":
        return {}
    shape = shape_at(start)
    if shape is None:
        print("vLLM's memory is left to TRL: the size of such a model is not known here", file=sys.stderr)
        return {}
    total, given = torch.cuda.get_device_properties(device).total_memory, settings.launch.hardware.memory_gib
    memory = fitting_engine(shape, settings, total if given is None else min(total, int(given * GIB)))
    share = settings.training.vllm_gpu_memory_utilization or memory.share * memory.device / total
    return {"vllm_gpu_memory_utilization": share, "vllm_enable_sleep_mode": memory.sleeps}


def prepare_engine(trainer: FrugalGrpoTrainer, settings: GrpoSettings, seed: int) -> dict[str, object]:
    """Bound the rollouts that the engine takes on, and seed those of held-out tasks. Returns what it computes with."""
    generation = trainer.vllm_generation
    engine = generation.llm.llm_engine
    config = engine.vllm_config
    cache_tokens = config.cache_config.num_gpu_blocks * config.cache_config.block_size
    asked = rollouts_of_engine(settings)
    at_once = rollouts_at_once(settings, cache_tokens, asked)
    engine.engine_core.engine_core.scheduler.max_num_running_reqs = at_once
    place = trainer.accelerator.process_index // settings.training.vllm_tensor_parallel_size
    generation.llm = SeededHeldOut(generation.llm, lambda: not trainer.model.training, (seed, "held out", place))
    if trainer.accelerator.is_main_process:
        said = f"{at_once:,} of {asked:,} rollouts at a time"
        print(f"vLLM keeps keys and values of {cache_tokens:,} tokens, {said}", file=sys.stderr)
    return {
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
        "sleep_mode": config.model_config.enable_sleep_mode,
        "lora_layers": config.lora_config is not None,
        "cache_tokens": cache_tokens,
        "max_num_seqs": at_once,
    }


class SeededHeldOut:
    """An engine whose completions of held-out tasks have a random seed each, from the prompt and the number of times
    that it was asked before: every evaluation draws alike, so their difference is the policy's.
    """

    def __init__(self, llm: "LLM", is_evaluating: Callable[[], bool], names: tuple[str | int, ...]) -> None:
        self.llm, self.is_evaluating, self.names = llm, is_evaluating, names

    def __getattr__(self, name: str) -> object:
        return getattr(self.llm, name)

    def generate(
        self, prompts: Sequence[dict[str, list[int]]], sampling_params: "SamplingParams", **options: bool
    ) -> list["RequestOutput"]:
        """As the engine's. Rollouts that are trained on draw from the engine's own random numbers."""
        if not self.is_evaluating():
            return self.llm.generate(prompts, sampling_params=sampling_params, **options)
        asked: Counter[str] = Counter()
        seeded = []
        for prompt in prompts:
            name = str(prompt["prompt_token_ids"])
            own = sampling_params.clone()
            own.seed = derive_seed(*self.names, name, asked[name]) % 2**31
            asked[name] += 1
            seeded.append(own)
        return self.llm.generate(prompts, sampling_params=seeded, **options)
