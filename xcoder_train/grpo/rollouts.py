"""What makes rollouts: transformers, with a random stream for each of them, or vLLM by way of TRL's trainer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from trl import GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

from xcoder_core.models.chat import stop_token_ids
from xcoder_core.models.transformers_backend import Sampled, sample_batch
from xcoder_core.settings import require
from xcoder_train.grpo.settings import GrpoSettings

Sampler = Callable[[GRPOTrainer, list[list[int]], list[int]], list[Sampled]]
"""Makes a completion for each prompt, given as token ids, and its seed, from the trainer's policy as it is."""


def sampler(settings: GrpoSettings) -> Sampler:
    """What the recipe's `generation` says."""

    def by_transformers(trainer: GRPOTrainer, prompts: list[list[int]], seeds: list[int]) -> list[Sampled]:
        tokenizer: Any = trainer.processing_class
        model = trainer.accelerator.unwrap_model(trainer.model)
        was_training = model.training
        sampling = settings.sampling(trainer.state.global_step if was_training else None)
        stops = stop_token_ids(tokenizer, model)
        model.eval()
        try:
            sampled = dict(sample_batch(model, prompts, seeds, sampling, stops, measures=was_training))
        finally:
            model.train(was_training)
        return [sampled[row] for row in range(len(prompts))]

    return by_transformers if settings.generation == "transformers" else by_vllm


def by_vllm(trainer: GRPOTrainer, prompts: list[list[int]], seeds: list[int]) -> list[Sampled]:
    """As TRL does without a `rollout_func`; vLLM draws from its own process's random numbers."""
    group = trainer.num_generations if require(trainer.model).training else trainer.num_generations_eval
    made, log_probabilities = trainer._generate_single_turn(prompts, None, {}, group)
    return [
        Sampled(list(ids), False, [float("nan") if each is None else each for each in own])
        for ids, own in zip(made, log_probabilities, strict=True)
    ]


def merge_beside(engine: VLLMGeneration) -> None:
    """Hand vLLM sums of weights and adapters: TRL adds in place and subtracts again, which moves weights in 16 bits."""
    model, weights_of = engine.model, engine._iter_named_params
    model.merge_adapter = model.unmerge_adapter = lambda: None  # type: ignore[assignment]
    layers = {f"{name.removeprefix('base_model.model.')}.weight": layer for name, layer in model.named_modules()}

    def merged() -> Iterator[tuple[str, torch.Tensor]]:
        for name, weights in weights_of():
            if hasattr(layers.get(name), "get_delta_weight"):
                added = layers[name].get_delta_weight("default").detach()
                added = added.full_tensor() if isinstance(added, DTensor) else added  # under FSDP2
                weights = (weights + added).to(weights.dtype)
            yield name, weights

    engine._iter_named_params = merged  # type: ignore[method-assign]


def batches(prompts: Sequence[Sequence[int]], settings: GrpoSettings, *, is_training: bool) -> list[list[int]]:
    """Which prompts are sampled together, by their rows."""
    rows = list(range(len(prompts)))
    if settings.generation == "transformers":
        # Alike lengths together, and the rollouts of a group stay neighbours, so their prompt is read once.
        rows.sort(key=lambda row: (len(prompts[row]), prompts[row], row))
        size = settings.rollout_batch
    else:
        size = (settings.vllm_batch if is_training else None) or len(rows)
    return [rows[start : start + size] for start in range(0, len(rows), size)]
