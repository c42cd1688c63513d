"""Rollouts come from the policy as it is: when its weights change, what it samples and how likely it is follow."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, TrainerCallback
from trl import GRPOConfig

from xcoder_core.models.loading import initialise_model, save_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.training.start import quiet_libraries

PROMPTS = ["a", "longer prompt", "b" * 17, "c d"]


class Perturb(TrainerCallback):
    """Moves every weight far, once, between the first step and the second."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 1:
            drawn = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in model.parameters():
                    moved = torch.randn(parameter.shape, generator=drawn) * 0.3
                    parameter.add_(moved.to(parameter.device, parameter.dtype))


def _rollouts(folder: Path, **changed: Any) -> tuple[list[PreTrainedModel], list[dict[str, Any]]]:
    """Two steps of a policy that is perturbed between them: copies of it at each step, and that step's rollouts."""
    quiet_libraries()
    init = InitSettings(
        hidden_size=128, intermediate_size=96, layers=2, heads=2, kv_heads=1, context=128, vocabulary=300
    )
    save_model(*initialise_model(init, PROMPTS, seed=0), folder / "base")
    model, policies, made = AutoModelForCausalLM.from_pretrained(folder / "base"), [], []

    class Watched(FrugalGrpoTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            policies.append(AutoModelForCausalLM.from_pretrained(folder / "base"))
            policies[-1].load_state_dict({name: value.cpu() for name, value in self.model.state_dict().items()})
            made.append(super()._generate_and_score_completions(inputs))
            return made[-1]

    arguments = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 8,
        "num_generations": 2,
        "max_completion_length": 12,
        "max_steps": 2,
        "learning_rate": 1e-9,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        **changed,
    }
    trainer = Watched(
        model=model,
        reward_funcs=lambda prompts, **_: [0.0] * len(prompts),
        args=GRPOConfig(**arguments),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS * 2]),
        processing_class=AutoTokenizer.from_pretrained(folder / "base", padding_side="left"),
        callbacks=[Perturb()],
    )
    trainer.train()
    assert len(made) == 2
    return policies, made


def _log_probabilities(policy: PreTrainedModel, rollouts: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every completion token under the policy, and whether it is the likeliest; both flat, without padding."""
    parts = {name: value.cpu() for name, value in rollouts.items() if isinstance(value, torch.Tensor)}
    ids = torch.cat([parts["prompt_ids"], parts["completion_ids"]], 1)
    mask = torch.cat([parts["prompt_mask"], parts["completion_mask"]], 1)
    start = parts["prompt_ids"].shape[1]
    with torch.no_grad():
        places = (mask.cumsum(1) - 1).clamp(min=0)
        logits = policy.eval()(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False).logits
    every = logits[:, start - 1 : -1].float().log_softmax(-1)
    real = parts["completion_mask"].bool()
    of_tokens = every.gather(-1, parts["completion_ids"][..., None])[..., 0]
    return of_tokens[real], (every.argmax(-1) == parts["completion_ids"])[real]


def test_rollouts_of_transformers_are_those_of_the_perturbed_policy(tmp_path: Path) -> None:
    policies, made = _rollouts(tmp_path, use_cpu=True, temperature=1e-4)  # as good as always the likeliest token
    for policy, rollouts in zip(policies, made, strict=True):
        assert _log_probabilities(policy, rollouts)[1].float().mean() > 0.95
    stale = _log_probabilities(policies[0], made[1])[1]
    assert stale.float().mean() < 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="vLLM's rollouts need a GPU, and torch sees none")
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_log_probabilities_of_vllms_rollouts_follow_the_perturbed_policy(tmp_path: Path) -> None:
    vllm = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.2}
    policies, made = _rollouts(tmp_path, **vllm)
    for policy, rollouts in zip(policies, made, strict=True):
        real = rollouts["completion_mask"].bool().cpu()
        sampled = rollouts["sampling_per_token_logps"].cpu()[real]
        assert (sampled - _log_probabilities(policy, rollouts)[0]).abs().mean() < 0.05
    stale = _log_probabilities(policies[0], made[1])[0]
    assert (sampled - stale).abs().mean() > 0.5
