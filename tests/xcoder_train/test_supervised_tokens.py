"""SFT's forward pass on a CPU gives what TRL's own gives: the loss, its metrics and every gradient."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from xcoder_core.models.loading import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_train.sft import forward as supervised_tokens
from xcoder_train.sft.data import IGNORED
from xcoder_train.sft.forward import score_supervised_tokens
from xcoder_train.training.settings import LoraSettings
from xcoder_train.training.start import quiet_libraries
from xcoder_train.training.weights import lora_config

# Prompts of several lengths; one answer is a single token, one row has none at all.
ROWS = [(3, 20), (11, 1), (1, 34), (7, 0), (2, 9)]


def _trainer(folder: Path, architecture: str, *, packing: bool = False, lora: bool = False) -> SFTTrainer:
    quiet_libraries()
    init = InitSettings(
        architecture=architecture, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, vocabulary=300
    )
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    model, tokenizer = initialise_model(init, ["a"], seed=0)
    drawn = torch.Generator().manual_seed(1)
    rows = []
    for prompt, answer in ROWS:
        ids = torch.randint(10, 250, (prompt + answer,), generator=drawn).tolist()
        rows.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    if packing:
        ids = [token for row in rows for token in row["input_ids"]]
        labels = [label for row in rows for label in row["labels"]]
        rows = [{"input_ids": ids, "labels": labels, "seq_lengths": [len(row["input_ids"]) for row in rows]}]
    torch.manual_seed(2)
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=len(rows),
            max_length=128,
            packing=packing,
            dataset_kwargs={"skip_prepare_dataset": True},
            bf16=False,
            activation_checkpointing=False,
            use_cpu=True,
            report_to=[],
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(LoraSettings(rank=4, alpha=8)) if lora else None,
    )


def _step(trainer: SFTTrainer, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, Any], list[torch.Tensor]]:
    """The loss, the metrics, and the gradients of one batch."""
    trainer.model.train()
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    trainer._total_train_tokens = 0
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(50))
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in trainer.model.parameters() if parameter.grad is not None]
    return loss.item(), dict(trainer._metrics["train"]), gradients


@pytest.mark.parametrize(
    "changed", [{}, {"packing": True}, {"lora": True}], ids=["padded rows", "packed documents", "adapters"]
)
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_loss_metrics_and_gradients_are_those_of_trl(
    architecture: str, changed: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tmp_path, architecture, **changed)
    batch = next(iter(trainer.get_train_dataloader()))
    loss, metrics, gradients = _step(trainer, batch)
    model = trainer.model.get_base_model() if changed.get("lora") else trainer.model
    score_supervised_tokens(model)
    scored: list[int] = []
    own = supervised_tokens.linear

    def counted(hidden: torch.Tensor, *given: Any) -> torch.Tensor:
        scored.append(len(hidden))
        return own(hidden, *given)

    monkeypatch.setattr(supervised_tokens, "linear", counted)
    own_loss, own_metrics, own_gradients = _step(trainer, batch)
    assert scored == [sum(answer for _, answer in ROWS)]  # nothing else went through the head
    assert own_loss == pytest.approx(loss, rel=1e-6)
    assert own_metrics["entropy"] == pytest.approx(metrics["entropy"], rel=1e-6)
    assert {**own_metrics, "entropy": 0} == {**metrics, "entropy": 0}
    assert len(gradients) == len(own_gradients) > 10
    for one, other in zip(gradients, own_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)


def test_padding_on_the_left_keeps_its_mask(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, "qwen3")
    batch = dict(next(iter(trainer.get_train_dataloader())))
    flipped = {name: value.flip(1) for name, value in batch.items()}
    loss, _, _ = _step(trainer, flipped)
    score_supervised_tokens(trainer.model)
    assert _step(trainer, flipped)[0] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("why", ["no labels count", "too many logits"])
def test_a_batch_out_of_the_ordinary_is_scored_too(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path, "qwen3")
    batch = dict(next(iter(trainer.get_train_dataloader())))
    if why == "no labels count":
        batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    else:
        monkeypatch.setattr(supervised_tokens, "MOST_LOGITS", 1000)
    loss, _, gradients = _step(trainer, batch)
    score_supervised_tokens(trainer.model)
    own_loss, _, own_gradients = _step(trainer, batch)
    assert own_loss == loss
    assert all(torch.equal(one, other) for one, other in zip(gradients, own_gradients, strict=True))


def test_a_models_own_logits_stay(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, "qwen2")
    ids = torch.arange(10, 40)[None]
    before = trainer.model.eval()(input_ids=ids, use_cache=False).logits
    score_supervised_tokens(trainer.model)
    assert torch.equal(trainer.model(input_ids=ids, use_cache=False).logits, before)
