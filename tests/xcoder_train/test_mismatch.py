"""The corrections of the mismatch between sampler and policy, on a policy whose expectations can be enumerated.

The sampler's log-probabilities are the policy's with noise. A batch holds every rollout as often as the sampler would
draw it, so the gradient of the real trainer is the exact expectation over the sampler, and what the policy's own
rollouts would give can be written down.
"""

import itertools
import math
import random
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
from xcoder_train.grpo.mismatch import figures, masked_by_mean
from xcoder_train.grpo.trainer import FrugalGrpoTrainer
from xcoder_train.training.settings import GrpoTraining
from xcoder_train.training.start import quiet_libraries

PROMPT = [{"role": "user", "content": "p"}]
ROLLOUTS, LONGEST = 512, 3
LIKELY = (0.5, 0.3, 0.2)
"""Of the two tokens that a rollout is made of, and of its end."""
CAP, BOUNDS, GEOMETRIC_BOUNDS = 1.3, (0.7, 1.45), (0.92, 1.12)
NOISE, OUTLIER = 0.15, 0.6
"""In the sampler's log-probabilities: of all tokens, and of one token besides."""

Policy = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Trained = Callable[..., "Step"]


class Step:
    """The gradient of one step of the trainer, and all that it can be held against.

    `ratios` are those of the tokens of each rollout that there is, 1 after its end; `odds` how likely the sampler draws
    each rollout.
    """

    def __init__(
        self,
        policy: Policy,
        longest: int,
        trained: Callable[..., GRPOTrainer],
        noise: float = NOISE,
        outlier_after: str = "",
        **arguments: Any,
    ) -> None:
        self.model, self.tokenizer = policy
        self.alive = _rollouts(self.tokenizer, longest)
        chances = self._log_probabilities().detach().exp()
        after = self.tokenizer.convert_tokens_to_ids(list(outlier_after))
        counts, sampled = _drawn(self.alive, chances, noise, tuple(after))
        self.odds = torch.tensor(counts) / ROLLOUTS
        self.lengths = torch.tensor([len(each) for each in self.alive])
        self.ratios = chances / sampled
        worth = dict(zip(self.tokenizer.convert_tokens_to_ids(["a", "b"]), (1.0, 2.0), strict=True))
        rewards = torch.tensor([sum(worth.get(token, 0.0) for token in each) for each in self.alive])
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


def _drawn(
    rollouts: list[tuple[int, ...]], chances: Tensor, size: float, outlier_after: tuple[int, ...]
) -> tuple[list[int], Tensor]:
    """How often each rollout is drawn by a sampler whose log-probabilities have noise, and its tokens' probabilities.

    These are rounded, so that all counts are whole. None is 0.
    """
    noise = random.Random(4)
    counts: dict[tuple[int, ...], int] = {(): ROLLOUTS}
    likely: dict[tuple[int, ...], dict[int, float]] = {}
    for rollout, own in zip(rollouts, chances.tolist(), strict=True):
        for place, token in enumerate(rollout):
            likely.setdefault(rollout[:place], {})[token] = own[place]
    for prefix in sorted(likely, key=len):
        noisy = {token: own * math.exp(noise.gauss(0, size)) for token, own in likely[prefix].items()}
        if prefix == outlier_after:
            noisy[rollouts[1][0]] *= math.exp(OUTLIER)
        largest = max(noisy, key=noisy.__getitem__)
        for token in noisy:
            counts[*prefix, token] = max(1, round(counts[prefix] * noisy[token] / sum(noisy.values())))
        counts[*prefix, largest] += counts[prefix] - sum(counts[*prefix, token] for token in noisy)
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
    init = InitSettings(hidden_size=16, intermediate_size=16, layers=1, heads=2, kv_heads=1, context=64, vocabulary=300)
    model, tokenizer = initialise_model(init, ["p a b"], seed=0)
    rollouts, prompt = _rollouts(tokenizer, LONGEST), prompt_token_ids(tokenizer, PROMPT)
    likely = dict(zip([*rollouts[1][:1], *rollouts[2][:1], tokenizer.eos_token_id], LIKELY, strict=True))
    odds = torch.tensor([math.prod(likely[token] for token in each) for each in rollouts])
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in rollouts], True, -100)
    ids = torch.cat([torch.tensor(prompt).expand(len(rows), -1), rows.clamp(min=0)], dim=1)
    adam = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(200):
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


OFF: dict[str, Any] = {"vllm_importance_sampling_correction": False}
UNCUT: dict[str, Any] = {"vllm_importance_sampling_clip_max": 1e9}
CUT: dict[str, Any] = {"vllm_importance_sampling_clip_max": CAP}
INSIDE: dict[str, Any] = {
    "vllm_importance_sampling_clip_min": BOUNDS[0],
    "vllm_importance_sampling_clip_max": BOUNDS[1],
}
GEOMETRIC: dict[str, Any] = {**CUT, "bounds": GEOMETRIC_BOUNDS}


@pytest.mark.parametrize(("longest", "mode"), [(1, "token_truncate"), (3, "sequence_truncate")])
def test_importance_weights_remove_the_bias_of_another_sampler(longest: int, mode: str, step: Trained) -> None:
    assert step(longest, mode, **OFF).bias() > 0.1
    assert step(longest, mode, **UNCUT).bias() < 1e-4


def test_weights_of_single_tokens_leave_the_bias_of_the_tokens_before_them(step: Trained) -> None:
    uncorrected, corrected = step(3, "token_truncate", **OFF), step(3, "token_truncate", **UNCUT)
    assert 0.01 < corrected.bias() < uncorrected.bias() / 2


def _inside(ratios: Tensor, bounds: tuple[float, float] = BOUNDS) -> Tensor:
    return (ratios >= bounds[0]) & (ratios <= bounds[1])


def _geometric(step: Step) -> Tensor:
    return step.ratios.prod(1) ** (1 / step.lengths)


EQUATIONS: dict[str, tuple[dict[str, Any], Callable[[Step], Tensor]]] = {
    "token_truncate": (CUT, lambda step: step.ratios.clamp(max=CAP)),
    "token_mask": (INSIDE, lambda step: step.ratios * _inside(step.ratios)),
    "sequence_truncate": (CUT, lambda step: step.ratios.prod(1, keepdim=True).clamp(max=CAP).expand_as(step.ratios)),
    "sequence_mask": (
        INSIDE,
        lambda step: (step.ratios.prod(1) * _inside(step.ratios.prod(1)))[:, None].expand_as(step.ratios),
    ),
    "geometric_mask": (
        GEOMETRIC,
        lambda step: step.ratios.clamp(max=CAP) * _inside(_geometric(step), GEOMETRIC_BOUNDS)[:, None],
    ),
}


@pytest.mark.parametrize("mode", EQUATIONS)
def test_each_correction_gives_the_gradient_of_its_equation(mode: str, step: Trained) -> None:
    arguments, weights = EQUATIONS[mode]
    made = step(3, mode, **arguments)
    assert _apart(made.gradient, made.expected(weights(made))) < 1e-4
    assert _apart(made.gradient, made.expected(made.ratios)) > 0.01  # the bounds are met
    inside = torch.arange(3) < made.lengths[:, None]
    masked = (weights(made) == 0) & inside
    share = (made.odds @ masked.sum(1).float()) / (made.odds @ made.lengths.float())
    assert made.logged["sampling/masked_share"] == pytest.approx(float(share))
    assert made.logged["sampling/masked_rollouts"] == pytest.approx(float(made.odds @ masked.any(1).float()))
    assert (0.05 < share < 0.95) == mode.endswith("mask")


@pytest.mark.parametrize(("longest", "mode"), [(1, "token_mask"), (3, "sequence_mask")])
def test_a_mask_is_without_bias_on_the_rollouts_that_it_keeps(longest: int, mode: str, step: Trained) -> None:
    made = step(longest, mode, **INSIDE)
    kept = _inside(made.ratios.prod(1))
    assert 0 < made.odds @ kept.float() < 1
    assert made.bias(kept) < 1e-4
    assert made.bias() > 0.1  # what is masked is missing


def test_the_geometric_mask_removes_the_bias_of_a_few_rollouts_that_are_far_off(step: Trained) -> None:
    """The sampler agrees, up to its rounding, but for what follows one first token."""
    far_off: dict[str, Any] = {"noise": 0.0, "outlier_after": "b"}
    made = step(3, "geometric_mask", **far_off, bounds=(0.95, 1.05))
    kept = torch.tensor([row[0] != made.alive[2][0] for row in made.alive])
    assert made.logged["sampling/masked_rollouts"] == pytest.approx(1 - float(made.odds @ kept.float()))
    assert made.bias(kept) < 0.005
    assert step(3, "geometric_mask", **far_off, **OFF).bias() > 0.05


def test_the_divergence_and_the_geometric_means_are_those_of_the_two_distributions(step: Trained) -> None:
    made = step(3, "token_truncate")
    divergence = made.odds @ -made.ratios.log().sum(1) / (made.odds @ made.lengths.float())
    assert divergence > 0.01
    assert made.logged["sampling/kl"] == pytest.approx(float(divergence), abs=1e-3)  # a trace is on other rollouts
    assert made.logged["sampling/geometric_mean/min"] == pytest.approx(float(_geometric(made).min()), rel=1e-4)
    assert made.logged["sampling/geometric_mean/max"] == pytest.approx(float(_geometric(made).max()), rel=1e-4)


def _rollouts_with(differences: list[list[float]], lengths: list[int]) -> dict[str, Tensor]:
    sampled = torch.zeros(len(lengths), max(lengths))
    policys = torch.full_like(sampled, 7.0)  # of padding it may be anything
    for row, own in enumerate(differences):
        policys[row, : lengths[row]] = torch.tensor(own).expand(lengths[row])
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return {
        "completion_mask": mask.long(),
        "old_per_token_logps": policys,
        "sampling_per_token_logps": sampled,
        "importance_sampling_ratio": torch.full_like(sampled, 1.5),
    }


def test_the_geometric_mask_judges_long_and_short_rollouts_alike() -> None:
    rollouts = _rollouts_with([[0.009], [0.009], [-0.011], [-0.011], [0.02, -0.02]], [1, 1000, 1, 1000, 2])
    weights = masked_by_mean(rollouts, (0.99, 1.01))
    assert weights[:, 0].tolist() == [1.5, 1.5, 0, 0, 1.5]
    assert all(len(set(row.tolist())) == 1 for row in weights)


def test_a_token_that_the_sampler_gave_no_number_for_counts_as_one_on_which_both_agree() -> None:
    rollouts = _rollouts_with([[0.015], [0.015]], [2, 2])
    rollouts["sampling_per_token_logps"][0, 1] = math.nan
    assert masked_by_mean(rollouts, (0.99, 1.01))[:, 0].tolist() == [1.5, 0]
    assert figures(rollouts, lambda tensor: tensor)["sampling/geometric_mean/max"] == pytest.approx(math.exp(0.015))


def test_rollouts_that_are_left_out_as_cut_off_are_in_no_figure() -> None:
    rollouts = _rollouts_with([[0.02], [0.02], [-0.5]], [4, 2, 3])
    rollouts["completion_mask"][2] = 0  # TRL's mask_truncated_completions
    rollouts["importance_sampling_ratio"] = masked_by_mean(rollouts, (0.99, 1.01))
    told = figures(rollouts, lambda tensor: tensor)
    assert told["sampling/masked_share"] == told["sampling/masked_rollouts"] == 1
    assert told["sampling/geometric_mean/min"] == pytest.approx(math.exp(0.02))
    rollouts["completion_mask"][:] = 0
    assert figures(rollouts, lambda tensor: tensor) == {}
