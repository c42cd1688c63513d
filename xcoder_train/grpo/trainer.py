"""TRL's GRPOTrainer with the same gradient for less work: no padding is computed, and nothing without an advantage.

GRPO (Shao et al. 2024, arXiv 2402.03300, equation 3) sums over rollouts, so within one optimiser step their order is
free; where a term is averaged within each micro-batch it is not, and TRL's own order stays. Here rollouts are ordered
by length before they are cut into micro-batches, each micro-batch is cut to its own longest rollout, and micro-batches
in which every advantage is zero are cut to a single token: their gradient is zero.
"""

from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from xcoder_train.grpo.groups import Groups
from xcoder_train.grpo.mismatch import figures, masked_by_mean
from xcoder_train.grpo.rollouts import merge_beside
from xcoder_train.grpo.step_times import StepTimes
from xcoder_train.training.optimizer import OptimizerFactory

Batch = dict[str, Any]
"""Rollouts as TRL hands them on: tensors over rollouts (padded to one length), and numbers and lists beside them."""


class FrugalGrpoTrainer(GRPOTrainer):
    """GRPOTrainer; see the module's description.

    `optimizer_factory` is what the Trainer takes for such optimisers. `groups` collect what a set is made of, whatever
    prompts TRL's own order has in its place; without them TRL has prompts sampled and judged. `geometric_bounds` are
    those of the geometric mask, where that is the correction of vLLM's rollouts.
    """

    args: GRPOConfig
    model: torch.nn.Module
    _buffered_inputs: Any  # None, or a list of micro-batches

    def __init__(
        self,
        *args: Any,
        optimizer_factory: OptimizerFactory | None = None,
        groups: Groups | None = None,
        geometric_bounds: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.optimizer_cls_and_kwargs = optimizer_factory
        self.groups = groups
        self.geometric_bounds = geometric_bounds
        if self.use_vllm:
            merge_beside(self.vllm_generation)
        self.times = StepTimes(self)
        self.add_callback(self.times)
        if groups is not None:
            groups.times = self.times

    def _generate_and_score_completions(self, inputs: list[dict[str, object]]) -> Batch:
        """As TRL, on the groups of the set. What the importance correction meets and masks is logged."""
        if self.use_vllm and self.groups is not None:
            step = self.state.global_step if self.model.training else None
            self.vllm_generation.max_completion_length = self.groups.settings.length_limit(step)
        with self.times.during("rest"):
            if self.groups is not None and self.model.training:
                inputs = self.groups.collect(self)
            output = super()._generate_and_score_completions(inputs)
        self._keep_older_policies(output)
        if "importance_sampling_ratio" in output:
            if self.geometric_bounds is not None:
                output["importance_sampling_ratio"] = masked_by_mean(output, self.geometric_bounds)
            for name, value in figures(output, self.accelerator.gather).items():
                self._metrics["train" if self.model.training else "eval"][name].append(value)
        return output

    def _keep_older_policies(self, output: Batch) -> None:
        """The old policy of a rollout is the one that sampled it, also where that is older than the one of now.

        With vLLM TRL corrects by it instead.
        """
        sampled = output.get("sampling_per_token_logps")
        if self.groups is not None and sampled is not None and not self.use_vllm:
            is_older = torch.tensor(self.groups.is_older(self), device=sampled.device)
            now = output.get("old_per_token_logps")
            output["old_per_token_logps"] = torch.where(is_older[:, None], sampled, sampled if now is None else now)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As TRL; a set of rollouts is written once, and those of an evaluation never: they would replace a step's."""
        is_on = self.log_completions
        self.log_completions = is_on and self.model.training and "reward" in self._metrics["train"]
        try:
            super().log(logs, start_time)
        finally:
            self.log_completions = is_on

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        """The next micro-batch; a new set of rollouts is made when the last one is used up."""
        steps, per_update = int(self.args.steps_per_generation or 1), self.args.gradient_accumulation_steps
        if not self.model.training or steps % per_update or not self._order_is_free:
            return super()._prepare_inputs(generation_batch)
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            if steps > per_update:  # or one update would get all long ones
                batch = shuffle_sequence_dict(batch)
            parts = split_tensor_dict(batch, steps // per_update)
            self._buffered_inputs = [rows for part in parts for rows in split_tensor_dict(by_length(part), per_update)]
        return self._buffered_inputs[self._step % steps]

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> tuple[object, ...]:
        """As TRL; the completions of an evaluation, of which many are decoded at once, are scored a few at a time."""
        if not self.model.training:
            kwargs["batch_size"] = self.args.per_device_train_batch_size
        if torch.is_grad_enabled():
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        with self.times.during("old_logprobs"):  # of the policy that sampled, or of the reference
            self.times.tokens["old_logprobs"] += int(args[2].sum())
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _compute_loss(self, model: torch.nn.Module, inputs: Batch) -> torch.Tensor:
        """The loss of one micro-batch, without the columns that hold only padding."""
        self.times.tokens["update"] += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
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


def by_length(batch: Batch) -> Batch:
    """Rows with an advantage first, then by total length; every tensor over rows is reordered alike."""
    rows = len(batch["advantages"])
    length = batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)
    order = torch.argsort(length + length.max() * (batch["advantages"] == 0) * 2, stable=True)
    return {
        name: value[order] if isinstance(value, torch.Tensor) and value.ndim and len(value) == rows else value
        for name, value in batch.items()
    }


def trimmed(inputs: Batch) -> Batch:
    """Without the leading prompt columns and trailing completion columns that are padding in every row."""
    prompt = int(inputs["prompt_mask"].any(0).long().argmax())
    real = inputs["completion_mask"].any(0).nonzero()
    return _cut(inputs, prompt, int(real[-1]) + 1 if len(real) else 1)


def cut_to_one_token(inputs: Batch) -> Batch:
    """The last prompt token and the first completion token of every row: the shape of a batch at no cost."""
    return _cut(inputs, inputs["prompt_mask"].shape[1] - 1, 1)


def _cut(inputs: Batch, prompt_start: int, completion_length: int) -> Batch:
    width = inputs["completion_mask"].shape[1]
    cut = dict(inputs)
    for name, value in inputs.items():
        if name in ("prompt_ids", "prompt_mask"):
            cut[name] = value[:, prompt_start:]
        elif isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] == width:
            cut[name] = value[:, :completion_length]
    return cut
