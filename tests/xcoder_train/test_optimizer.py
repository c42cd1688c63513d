"""Muon with AdamW as one optimiser: who gets which weights, one schedule for both, and exact resume."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from xcoder_core.errors import InputError
from xcoder_core.models.loading import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.training.optimizer import MuonFactory, MuonWithAdamW, optimizer_factory
from xcoder_train.training.settings import OptimizerSettings, SftTraining

SETTINGS = OptimizerSettings(name="muon", learning_rate_rest=3e-3, momentum=0.9)
TRAINING = SftTraining(learning_rate=1e-2, weight_decay=0.1, adam_beta2=0.98)


def _model(tied: bool = True) -> PreTrainedModel:
    init = InitSettings(hidden_size=32, intermediate_size=48, layers=2, context=64, vocabulary=300, tie_embeddings=tied)
    return initialise_model(init, ["text"], seed=0)[0]


def _optimizer(model: PreTrainedModel) -> tuple[MuonWithAdamW, Any]:
    chosen = optimizer_factory(SETTINGS, TRAINING)
    assert chosen is not None
    factory, arguments = chosen
    assert factory is MuonFactory
    optimizer = MuonFactory()(model, **arguments)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


def _steps(model: PreTrainedModel, optimizer: MuonWithAdamW, scheduler: Any, first: int, last: int) -> None:
    for step in range(first, last):
        ids = torch.randint(0, 200, (4, 16), generator=torch.Generator().manual_seed(step))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("tied", [True, False])
def test_muon_gets_the_hidden_matrices_and_adamw_everything_else_each_once(tied: bool) -> None:
    model = _model(tied)
    optimizer, _ = _optimizer(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    muon, adamw = ([names[id(p)] for p in group["params"]] for group in optimizer.param_groups)
    assert sorted(muon + adamw) == sorted(names.values())
    assert len(muon) == 2 * 7
    assert all(name.endswith("_proj.weight") for name in muon)
    assert ("lm_head.weight" in adamw) is not tied
    assert "model.embed_tokens.weight" in adamw


def test_the_recipes_numbers_reach_both_parts() -> None:
    muon, adamw = _optimizer(_model())[0].param_groups
    assert (muon["lr"], muon["momentum"], muon["weight_decay"]) == (1e-2, 0.9, 0.1)
    assert (adamw["lr"], adamw["betas"], adamw["weight_decay"]) == (3e-3, (0.9, 0.98), 0.0)


def test_adamw_is_left_to_the_trainer() -> None:
    assert optimizer_factory(OptimizerSettings(), TRAINING) is None


def test_one_schedule_moves_the_learning_rate_of_both_parts() -> None:
    model = _model()
    optimizer, scheduler = _optimizer(model)
    _steps(model, optimizer, scheduler, 0, 3)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-2 / 4, 3e-3 / 4])


def test_a_rate_of_zero_stands_still() -> None:
    model = _model()
    optimizer, scheduler = _optimizer(model)
    before = copy.deepcopy(model.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    model(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    optimizer.step()
    assert all(torch.equal(after, before[name]) for name, after in model.state_dict().items())


def test_resumed_equals_uninterrupted_to_the_last_bit(tmp_path: Path) -> None:
    straight = _model()
    optimizer, scheduler = _optimizer(straight)
    _steps(straight, optimizer, scheduler, 0, 3)
    state = {"model": straight.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "state.pt")
    _steps(straight, optimizer, scheduler, 3, 6)

    resumed = _model()
    optimizer, scheduler = _optimizer(resumed)
    loaded = torch.load(tmp_path / "state.pt")
    resumed.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    scheduler.load_state_dict(loaded["scheduler"])
    _steps(resumed, optimizer, scheduler, 3, 6)
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-2 / 7, 3e-3 / 7])


def test_a_closure_is_evaluated_once() -> None:
    model = _model()
    optimizer, _ = _optimizer(model)
    calls = []

    def closure() -> float:
        calls.append(1)
        loss = model(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss
        loss.backward()
        return float(loss)

    assert optimizer.step(closure) > 0
    assert calls == [1]


def test_muon_below_adapters_is_refused_before_anything_runs(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: {path: some/model}\n"
        "synth: {splits: {solved: {use: sft, tasks: 4}}}\n"
        "sft: {lora: {rank: 4}, optimizer: {name: muon}, training: {learning_rate: 1.0e-3}}\n"
    )
    with pytest.raises(InputError, match="muon is for whole matrices.*adamw with lora"):
        load_recipe(recipe)
