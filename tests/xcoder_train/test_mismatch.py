"""The corrections of the mismatch between sampler and policy, on a policy whose expectations can be enumerated.

The sampler's log-probabilities are the policy's with noise. A batch holds every rollout as often as the sampler would
draw it, so the gradient of the real trainer is the exact expectation over the sampler, and what the policy's own
rollouts would give can be written down.
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.training.settings import GrpoTraining
from xcoder_train.training.start import quiet_libraries

PROMPT = [{"role": "user", "content": "p"}]
ROLLOUTS, LONGEST = 512, 3
LIKELY = (0.5, 0.3, 0.2)
"""Of the two tokens that a rollout is made of, and of its end."""
CAP, BOUNDS, GEOMETRIC_BOUNDS = 1.3, (0.8, 1.25), (0.9, 1.1)
NOISE, OUTLIER = 0.25, 0.8

Policy = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Trained = Callable[..., "Step"]


class Step:
    """The gradient of one step of the trainer, and all that it can be held against.

    `ratios` are those of the tokens of each rollout that there is, 1 after its end; `odds` how likely the sampler draws
    each rollout.
    """

    def __init__(self, policy: Policy, longest: int, trained: Callable[..., GRPOTrainer], **arguments: Any) -> None:
        self.model, self.tokenizer = policy
        self.alive = _rollouts(self.tokenizer, longest)
        chances = self._log_probabilities().detach().exp()
        counts, sampled = _drawn(self.alive, chances, seed=longest)
        self.odds = torch.tensor(counts) / ROLLOUTS
        self.lengths = torch.tensor([len(each) for each in self.alive])
        self.ratios = chances / sampled
        rewards = torch.tensor([float(5 * row % 7) for row in range(len(self.alive))])
        self.advantages = rewards - (self.odds * rewards).sum()
        self.trainer = trained(self, counts, sampled.log(), rewards, longest, **arguments)
        self.logged = self.trainer.state.log_history[0]
        before, after = self._parameters(policy[0]), self._parameters(self.trainer.model)
        self.gradient = (before - after) * longest

    @staticmethod
    def _parameters(model: torch.nn.Module) -> Tensor:
        return torch.cat([each.detach().flatten() for each in model.parameters()])

    def _log_probabilities(self) -> Tensor:
        """Of each token of each rollout by the policy; 0 after its end."""
        prompt = prompt_token_ids(self.tokenizer, PROMPT)
        rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in self.alive], batch_first=True)
        ids = torch.cat([torch.tensor(prompt).expand(len(rows), -1), rows], dim=1)
        scores = self.model(ids).logits[:, len(prompt) - 1 : -1].log_softmax(-1).gather(2, rows[..., None])[..., 0]
        inside = torch.arange(rows.shape[1]) < torch.tensor([[len(each)] for each in self.alive])
        return scores * inside

    def expected(self, weights: Tensor) -> Tensor:
        """The gradient if each token of each rollout counts with this weight, over the sampler."""
        loss = -(self.odds[:, None] * self.advantages[:, None] * weights.detach() * self._log_probabilities()).sum()
        grads = torch.autograd.grad(loss, list(self.model.parameters()), allow_unused=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in grads])

    def true(self, kept: Tensor | None = None) -> Tensor:
        """The gradient over the policy's own rollouts, or those of them that are kept."""
        own = self.ratios.prod(1, keepdim=True).expand_as(self.ratios)
        return self.expected(own if kept is None else own * kept[:, None])

    def bias(self, kept: Tensor | None = None) -> float:
        """How far the trainer's gradient is from that, by its length."""
        return _apart(self.gradient, self.true(kept))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def _rollouts(tokenizer: PreTrainedTokenizerBase, longest: int) -> list[tuple[int, ...]]:
    """Every rollout of two tokens and an end, which comes after at most `longest` tokens or not at all."""
    end = tokenizer.eos_token_id
    symbols = [tokenizer.convert_tokens_to_ids(letter) for letter in "ab"]
    ended = [(*body, end) for size in range(longest) for body in itertools.product(symbols, repeat=size)]
    return ended + list(itertools.product(symbols, repeat=longest))


def _drawn(rollouts: list[tuple[int, ...]], chances: Tensor, seed: int) -> tuple[list[int], Tensor]:
    """How often each rollout is drawn by a sampler whose log-probabilities have noise, and its tokens' probabilities.

    One token is an outlier. The noisy probabilities are rounded, so that each count is whole and never 0.
    """
    chance, counts = random.Random(seed), {(): ROLLOUTS}
    by_prefix: dict[tuple[int, ...], dict[int, float]] = {}
    for rollout, own in zip(rollouts, chances.tolist(), strict=True):
        for place, token in enumerate(rollout):
            by_prefix.setdefault(rollout[:place], {})[token] = own[place]
    for prefix in sorted(by_prefix, key=len):
        noisy = {}
        for token, own in by_prefix[prefix].items():
            noise = OUTLIER if len(counts) == 2 else chance.gauss(0, NOISE)
            noisy[token] = own * math.exp(noise)
            counts[*prefix, token] = 0
        whole = counts[prefix]
        for token, weight in noisy.items():
            counts[*prefix, token] = max(1, round(whole * weight / sum(noisy.values())))
        largest = max(noisy, key=lambda token: counts[*prefix, token])
        counts[*prefix, largest] += whole - sum(counts[*prefix, token] for token in noisy)
    sampled = torch.ones_like(chances)
    for row, rollout in enumerate(rollouts):
        for place in range(len(rollout)):
            sampled[row, place] = counts[rollout[: place + 1]] / counts[rollout[:place]]
    return [counts[rollout] for rollout in rollouts], sampled


@pytest.fixture(scope="module")
def policy() -> Policy:
    """One that makes these rollouts and, as good as, no others."""
    quiet_libraries()
    torch.set_num_threads(1)
    init = InitSettings(
        hidden_size=16, intermediate_size=16, layers=1, heads=2, kv_heads=1, context=64, vocabulary=300
    )
    model, tokenizer = initialise_model(init, ["p a b"], seed=0)
    rollouts, prompt = _rollouts(tokenizer, LONGEST), prompt_token_ids(tokenizer, PROMPT)
    likely = dict(zip([*rollouts[1][:1], *rollouts[2][:1], tokenizer.eos_token_id], LIKELY, strict=True))
    odds = torch.tensor([math.prod(likely[token] for token in each) for each in rollouts])
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in rollouts], True, -100)
    ids = torch.cat([torch.tensor(prompt).expand(len(rows), -1), rows.clamp(min=0)], dim=1)
    adam = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(300):
        scores = model(ids).logits[:, len(prompt) - 1 : -1]
        losses = torch.nn.functional.cross_entropy(scores.flatten(0, 1), rows.flatten(), reduction="none")
        (odds @ losses.view_as(rows).sum(1)).backward()
        adam.step()
        adam.zero_grad()
    return model, tokenizer


@pytest.fixture
def step(policy: Policy, tmp_path: Path) -> Trained:
    """The step of the project's trainer with a correction, as a recipe's settings hand it on."""

    def trained(
        step: Step, counts: list[int], logs: Tensor, rewards: Tensor, longest: int, mode: str, **arguments: Any
    ) -> GRPOTrainer:
        bounds = {"vllm_geometric_bounds": arguments.pop("bounds")} if "bounds" in arguments else {}
        training = GrpoTraining.model_validate({"vllm_importance_sampling_mode": mode, **bounds})
        order = [row for row, count in enumerate(counts) for _ in range(count)]
        random.Random(0).shuffle(order)
        by_rollout = dict(zip(step.alive, rewards.tolist(), strict=True))

        def roll_out(prompts: list[Any], _: GRPOTrainer) -> dict[str, Any]:
            made = [list(step.alive[row]) for row in order]
            known = [logs[row, : len(step.alive[row])].tolist() for row in order]
            ids = [prompt_token_ids(step.tokenizer, prompt) for prompt in prompts]
            return {"prompt_ids": ids, "completion_ids": made, "logprobs": known}

        trainer = FrugalGrpoTrainer(
            model=_copy(step.model),
            reward_funcs=lambda completion_ids, **_: [by_rollout[tuple(ids)] for ids in completion_ids],
            args=GRPOConfig(
                vllm_importance_sampling_mode=str(training.for_trl()["vllm_importance_sampling_mode"]),
                per_device_train_batch_size=ROLLOUTS // 4,
                gradient_accumulation_steps=4,
                num_generations=ROLLOUTS,
                max_completion_length=longest,
                max_steps=1,
                learning_rate=1.0,
                optim="sgd",  # the step is the gradient
                max_grad_norm=0.0,
                lr_scheduler_type="constant",
                loss_type="dr_grpo",
                scale_rewards="none",
                logging_steps=1,
                save_strategy="no",
                activation_checkpointing=False,
                bf16=False,
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                output_dir=str(tmp_path),
                **arguments,
            ),
            train_dataset=Dataset.from_list([{"prompt": PROMPT}]),
            processing_class=step.tokenizer,
            rollout_func=roll_out,
            geometric_bounds=training.geometric_bounds,
        )
        trainer.use_vllm, trainer._last_loaded_step = True, 0  # its rollouts are here, and its weights are the policy's
        trainer.train()
        return trainer

    return lambda longest, mode, **arguments: Step(policy, longest, trained, mode=mode, **arguments)


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    copied = type(model)(model.config)
    copied.load_state_dict(model.state_dict())
    return copied
