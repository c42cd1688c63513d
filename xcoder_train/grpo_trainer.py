"""TRL's GRPOTrainer with the same gradient for less work: no padding is computed, and nothing without an advantage.

GRPO (Shao et al. 2024, arXiv 2402.03300, equation 3) sums over rollouts, so within one optimiser step their order is
free; where a term is averaged within each micro-batch it is not, and TRL's own order stays. Here rollouts are ordered
by length before they are cut into micro-batches, each micro-batch is cut to its own longest rollout, and micro-batches
in which every advantage is zero are cut to a single token: their gradient is zero.
"""

from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict


class FrugalGrpoTrainer(GRPOTrainer):
    """GRPOTrainer; see the module's description. `optimizer_factory` is what the Trainer takes for such optimisers."""

    args: GRPOConfig
    model: torch.nn.Module
    _buffered_inputs: Any  # None, or a list of micro-batches

    def __init__(self, *args: Any, optimizer_factory: tuple[type, dict[str, Any]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer_cls_and_kwargs = optimizer_factory

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """The next micro-batch; a new set of rollouts is made when the last one is used up."""
        steps = self.args.steps_per_generation
        if not self.model.training or steps != self.args.gradient_accumulation_steps or not self._order_is_free:
            # Rollouts that several optimiser steps share must stay shuffled, or one step would get all long ones.
            return super()._prepare_inputs(generation_batch)
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(by_length(batch), steps)
        return self._buffered_inputs[self._step % steps]

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of one micro-batch, without the columns that hold only padding."""
        if inputs["advantages"].any() or not self._zero_advantage_is_zero_gradient:
            return super()._compute_loss(model, trimmed(inputs))
        before = {name: len(values) for name, values in self._metrics["train"].items()}
        loss = super()._compute_loss(model, cut_to_one_token(inputs))
        for name, values in self._metrics["train"].items():
            del values[before.get(name, 0) :]  # an entropy over one token would say nothing
        return loss

    @property
    def _order_is_free(self) -> bool:
        averaged = self._entropy_bonus_enabled or self.aux_loss_enabled or self.top_entropy_quantile < 1
        return self.loss_type != "bnpo" and not averaged

    @property
    def _zero_advantage_is_zero_gradient(self) -> bool:
        return self.model.training and self.beta == 0 and not self._entropy_bonus_enabled and not self.aux_loss_enabled


def by_length(batch: dict[str, Any]) -> dict[str, Any]:
    """Rows with an advantage first, then by total length; every tensor over rows is reordered alike."""
    rows = len(batch["advantages"])
    length = batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)
    order = torch.argsort(length + length.max() * (batch["advantages"] == 0) * 2, stable=True)
    return {
        name: value[order] if isinstance(value, torch.Tensor) and value.ndim and len(value) == rows else value
        for name, value in batch.items()
    }


def trimmed(inputs: dict[str, Any]) -> dict[str, Any]:
    """Without the leading prompt columns and trailing completion columns that are padding in every row."""
    prompt = int(inputs["prompt_mask"].any(0).long().argmax())
    real = inputs["completion_mask"].any(0).nonzero()
    return _cut(inputs, prompt, int(real[-1]) + 1 if len(real) else 1)


def cut_to_one_token(inputs: dict[str, Any]) -> dict[str, Any]:
    """The last prompt token and the first completion token of every row: the shape of a batch at no cost."""
    return _cut(inputs, inputs["prompt_mask"].shape[1] - 1, 1)


def _cut(inputs: dict[str, Any], prompt_start: int, completion_length: int) -> dict[str, Any]:
    width = inputs["completion_mask"].shape[1]
    cut = dict(inputs)
    for name, value in inputs.items():
        if name in ("prompt_ids", "prompt_mask"):
            cut[name] = value[:, prompt_start:]
        elif isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] == width:
            cut[name] = value[:, :completion_length]
    return cut
