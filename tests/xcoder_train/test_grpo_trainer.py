"""The frugal trainer against TRL's own: less is computed, and the parameters come out the same."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import initialise_model, save_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.grpo.trainer import FrugalGrpoTrainer, by_length, cut_to_one_token, trimmed
from xcoder_train.training.start import quiet_libraries

GROUP = 4
PROMPTS = ["a", "longer prompt", "b" * 17, "c d", "e", "f" * 9]
LONGEST = 24


def _model() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    init = InitSettings(
        hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, context=128, vocabulary=300
    )
    return initialise_model(init, PROMPTS, seed=0)


def _rollouts(prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
    """Completions of many lengths, the same for the same places; a third of them end with the stop token."""
    tokenizer = trainer.processing_class
    chance = random.Random(trainer.state.global_step)
    completions = []
    for _ in prompts:
        length = chance.randint(1, LONGEST)
        ends = [tokenizer.eos_token_id] if chance.random() < 0.33 else [50]
        completions.append([chance.randrange(10, 250) for _ in range(length - 1)] + ends)
    return {
        "prompt_ids": [prompt_token_ids(tokenizer, prompt) for prompt in prompts],
        "completion_ids": completions,
        "logprobs": None,
    }


def _reward(prompts: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    """Groups of three prompts get one reward alike, the others differ; one rollout has none."""
    alike = {"a", "longer prompt", "c d"}
    rewards: list[float | None] = [
        1.0 if prompt[0]["content"] in alike else float(sum(ids) % 7)
        for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]
    rewards[-1] = None
    return rewards


def _no_reward_differs(prompts: list[Any], **_: Any) -> list[float]:
    return [1.0] * len(prompts)


def _train(
    kind: type[GRPOTrainer], folder: Path, reward: Callable[..., Any] = _reward, **arguments: Any
) -> GRPOTrainer:
    model, tokenizer = _model()
    save_model(model, tokenizer, folder / "model")  # TRL loads its reference model from where the policy came from
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 6,
        "num_generations": GROUP,
        "max_completion_length": LONGEST,
        "max_steps": 1,
        "learning_rate": 1.0,
        "optim": "sgd",  # the step is the gradient, so the comparison hides nothing
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "activation_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 1,
        "output_dir": str(folder),
    }
    prompts = Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS])
    trainer = kind(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(**{**settings, **arguments}),
        train_dataset=prompts,
        eval_dataset=prompts,
        processing_class=tokenizer,
        rollout_func=_rollouts,
    )
    trainer.train()
    return trainer


def _largest_difference(one: GRPOTrainer, other: GRPOTrainer) -> float:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return max(float((left - right).detach().abs().max()) for left, right in pairs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"loss_type": "dapo"},
        {"loss_type": "grpo"},
        {"loss_type": "cispo"},
        {"loss_type": "bnpo"},
        {"loss_type": "dapo", "mask_truncated_completions": True},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss_type": "dapo", "beta": 0.1},
        {"loss_type": "dapo", "top_entropy_quantile": 0.5},
        {"loss_type": "dapo", "entropy_coef": 0.1},
        {"loss_type": "dr_grpo", "num_iterations": 2, "max_steps": 2},
        {"loss_type": "dapo", "steps_per_generation": 3, "gradient_accumulation_steps": 1, "max_steps": 3,
         "per_device_train_batch_size": 8},
        {"loss_type": "dapo", "steps_per_generation": 6, "gradient_accumulation_steps": 3, "max_steps": 4,
         "num_iterations": 2},
        {"loss_type": "grpo", "steps_per_generation": 6, "gradient_accumulation_steps": 3, "max_steps": 2},
    ],
    ids=lambda arguments: "-".join(f"{name}={value}" for name, value in arguments.items()),
)  # fmt: skip
def test_the_parameters_after_a_step_are_those_of_trl(arguments: dict[str, Any], tmp_path: Path) -> None:
    quiet_libraries()
    torch.set_num_threads(1)
    stock = _train(GRPOTrainer, tmp_path / "stock", **arguments)
    frugal = _train(FrugalGrpoTrainer, tmp_path / "frugal", **arguments)
    moved = max(
        float((after - before).detach().abs().max())
        for after, before in zip(stock.model.parameters(), _model()[0].parameters(), strict=True)
    )
    assert moved > 1e-3
    assert _largest_difference(stock, frugal) < 1e-6


def test_the_metrics_that_do_not_depend_on_micro_batches_are_those_of_trl(tmp_path: Path) -> None:
    stock = _train(GRPOTrainer, tmp_path / "stock", loss_type="dr_grpo").state.log_history[0]
    frugal = _train(FrugalGrpoTrainer, tmp_path / "frugal", loss_type="dr_grpo").state.log_history[0]
    names = [name for name in stock if name.startswith(("reward", "frac_", "completions/", "num_tokens", "loss"))]
    assert len(names) > 8
    assert {name: frugal[name] for name in names} == pytest.approx({name: stock[name] for name in names}, abs=1e-6)


def test_a_step_in_which_nothing_has_an_advantage_moves_nothing_and_is_logged(tmp_path: Path) -> None:
    trainer = _train(FrugalGrpoTrainer, tmp_path, _no_reward_differs, loss_type="dapo", max_steps=2)
    for after, before in zip(trainer.model.parameters(), _model()[0].parameters(), strict=True):
        assert torch.equal(after, before)
    logged = trainer.state.log_history[:2]
    assert [line["frac_reward_zero_std"] for line in logged] == [1.0, 1.0]
    assert [line["entropy"] for line in logged] == [None, None]


def test_fewer_tokens_go_through_the_model_than_with_trl(tmp_path: Path) -> None:
    def tokens_read(kind: type[GRPOTrainer]) -> int:
        seen = []
        hook = torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].numel()) if isinstance(module, torch.nn.Embedding) else None
        )
        try:
            _train(kind, tmp_path / kind.__name__, loss_type="dr_grpo")
        finally:
            hook.remove()
        return sum(seen)

    assert tokens_read(FrugalGrpoTrainer) < 0.6 * tokens_read(GRPOTrainer)


def test_an_evaluation_scores_as_many_at_once_as_training_and_says_what_trl_says(tmp_path: Path) -> None:
    """It decodes many together; their forward pass for the loss would need the memory of all of them."""
    together = []

    def evaluated(kind: type[GRPOTrainer]) -> dict[str, float]:
        trainer = _train(kind, tmp_path / kind.__name__, per_device_eval_batch_size=24)
        with torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, inputs: together.append(len(inputs[0])) if isinstance(module, torch.nn.Embedding) else None
        ):
            logged = trainer.evaluate()
        return {name: value for name, value in logged.items() if not name.endswith(("runtime", "per_second"))}

    stock = evaluated(GRPOTrainer)
    assert max(together) == 24
    together.clear()
    assert evaluated(FrugalGrpoTrainer) == pytest.approx(stock, abs=1e-6)
    assert set(together) == {4}


def _batch() -> dict[str, Any]:
    prompts, completions = [2, 3, 1, 3], [4, 1, 2, 3]
    return {
        "prompt_ids": torch.tensor([[0] * (5 - n) + [10 + row] * n for row, n in enumerate(prompts)]),
        "prompt_mask": torch.tensor([[0] * (5 - n) + [1] * n for n in prompts]),
        "completion_ids": torch.tensor([[20 + row] * n + [0] * (6 - n) for row, n in enumerate(completions)]),
        "completion_mask": torch.tensor([[1] * n + [0] * (6 - n) for n in completions]),
        "old_per_token_logps": torch.arange(24.0).reshape(4, 6),
        "importance_sampling_ratio": torch.arange(4.0)[:, None],
        "advantages": torch.tensor([1.0, 0.0, -1.0, 0.5]),
        "num_items_in_batch": torch.tensor(10),
        "num_images": None,
    }


def test_rows_are_ordered_as_wholes_with_those_that_teach_first() -> None:
    batch = _batch()
    ordered = by_length(batch)
    order = [2, 0, 3, 1]  # lengths 3, 6, 6, then the row without an advantage
    for name in ("prompt_ids", "completion_mask", "old_per_token_logps", "importance_sampling_ratio", "advantages"):
        assert torch.equal(ordered[name], batch[name][order])
    assert ordered["num_items_in_batch"] == 10
    assert ordered["num_images"] is None


def test_trimming_drops_only_columns_that_are_padding_in_every_row() -> None:
    batch = _batch()
    cut = trimmed(batch)
    assert torch.equal(cut["prompt_ids"], batch["prompt_ids"][:, 2:])
    assert torch.equal(cut["prompt_mask"], batch["prompt_mask"][:, 2:])
    for name in ("completion_ids", "completion_mask", "old_per_token_logps"):
        assert torch.equal(cut[name], batch[name][:, :4])
    for name in ("importance_sampling_ratio", "advantages"):
        assert torch.equal(cut[name], batch[name])


def test_trimming_keeps_a_column_where_every_completion_is_masked() -> None:
    batch = _batch()
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    assert trimmed(batch)["completion_ids"].shape == (4, 1)


def test_cutting_to_one_token_keeps_every_row() -> None:
    cut = cut_to_one_token(_batch())
    assert cut["prompt_ids"].tolist() == [[10], [11], [12], [13]]
    assert cut["completion_ids"].tolist() == [[20], [21], [22], [23]]
    assert cut["completion_mask"].tolist() == [[1], [1], [1], [1]]
    assert cut["old_per_token_logps"].shape == (4, 1)
