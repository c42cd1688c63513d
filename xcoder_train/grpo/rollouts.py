"""Rollouts by transformers for TRL's GRPOTrainer: the sampler of evaluation, with a random stream for each rollout."""

from collections.abc import Callable
from typing import Any

from trl import GRPOTrainer

from xcoder_core.models.chat import prompt_token_ids, stop_token_ids
from xcoder_core.models.prompt import Message
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.models.transformers_backend import sample_batch
from xcoder_core.seeds import derive_seed
from xcoder_train.grpo.settings import GrpoSettings


def sampling_settings(settings: GrpoSettings, step: int | None = None) -> SamplingSettings:
    """How the rollouts of an optimiser step are sampled, and for None all other completions."""
    return SamplingSettings(
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        repetition_penalty=settings.training.repetition_penalty,
        max_new_tokens=settings.length_limit(step),
    )


def rollout_function(
    settings: GrpoSettings, seed: int
) -> Callable[[list[list[Message]], GRPOTrainer], dict[str, list[list[int]] | None]]:
    """What GRPOTrainer takes as `rollout_func`.

    A rollout's seed is derived from the step and its place among those of all processes, so rollouts of a group and of
    different processes differ, a resumed run draws what an uninterrupted one would have drawn, and several processes
    draw what one would have drawn. The seed of an evaluation's rollout is derived from its prompt and its place: every
    evaluation draws alike, so their difference is the policy's.
    """

    def roll_out(prompts: list[list[Message]], trainer: GRPOTrainer) -> dict[str, list[list[int]] | None]:
        tokenizer: Any = trainer.processing_class
        model = trainer.accelerator.unwrap_model(trainer.model)
        prompt_ids = [prompt_token_ids(tokenizer, prompt) for prompt in prompts]
        place = trainer.accelerator.process_index
        if model.training:
            step = trainer.state.global_step
            first = place * len(prompts)  # every process has as many, and they follow each other
            seeds = [derive_seed(seed, "rollout", step, 0, first + row) for row in range(len(prompts))]
        else:
            names = [str(ids) for ids in prompt_ids]
            seeds = [derive_seed(seed, "held out", name, place, row) for row, name in enumerate(names)]
        sampling = sampling_settings(settings, trainer.state.global_step if model.training else None)
        stops = stop_token_ids(tokenizer, model)
        # Alike lengths together, and the rollouts of a group stay neighbours, so their prompt is read once.
        order = sorted(range(len(prompts)), key=lambda row: (len(prompt_ids[row]), prompt_ids[row], row))
        completion_ids: list[list[int]] = [[] for _ in prompts]
        was_training = model.training
        model.eval()
        try:
            for start in range(0, len(order), settings.rollout_batch):
                rows = order[start : start + settings.rollout_batch]
                for place_in_batch, one in sample_batch(
                    model,
                    [prompt_ids[row] for row in rows],
                    [seeds[row] for row in rows],
                    sampling,
                    stops,
                    tokenizer.pad_token_id,
                ):
                    completion_ids[rows[place_in_batch]] = one.token_ids
        finally:
            model.train(was_training)
        return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}

    return roll_out
