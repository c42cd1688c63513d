"""SFT's forward pass on a CPU without the work that changes nothing. On a GPU, TRL's own leaves most of it out.

Without Triton, TRL 1.16 projects every position to the vocabulary, prompts and padding too, in tiles that run forward
twice and keep no softmax; for a small vocabulary that is a third of a step. And where a batch is padded on the right,
no token that counts looks at padding under causal attention, so a mask only keeps torch from its causal kernel.
"""

import functools
import types
from typing import Any

import torch
from torch.nn.functional import linear
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from xcoder_train.sft.data import IGNORED
from xcoder_train.sft.settings import MOST_LOGITS

# Architectures whose logits are their head's plain product: no scale, no cap, no experts.
_PLAIN_HEADS = ("llama", "qwen2", "qwen3")


def score_supervised_tokens(model: PreTrainedModel) -> None:
    """Replace the scoring that TRL's SFTTrainer added to `model`, under the adapters if there are any.

    The new one returns the same log-probabilities and metrics, zero where a label is -100; the gradients are equal to
    rounding. What it does not know (a sharded head, another architecture, very many logits) is left to TRL's.
    """
    if model.config.model_type not in _PLAIN_HEADS:
        return
    tiled = model.forward

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any
    ) -> Any:
        head = self.get_output_embeddings()
        supervised = None if labels is None else labels[:, 1:] != IGNORED
        if not fused_lm_head or supervised is None or not _is_whole(head):
            return tiled(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        if int(supervised.sum()) * head.weight.shape[0] > MOST_LOGITS:
            return tiled(*args, fused_lm_head=True, labels=labels, **kwargs)
        if _pads_right(kwargs.get("attention_mask")):
            kwargs["attention_mask"] = None
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        every = linear(hidden[supervised], head.weight, head.bias).float().log_softmax(-1)
        chosen = every.gather(-1, labels[:, 1:][supervised][:, None])[:, 0]
        with torch.no_grad():
            entropy = -(every.exp() * every).sum(-1)
            is_top1 = chosen == every.amax(-1)
        return FusedCausalLMOutput(
            log_probs=_spread(chosen, supervised),
            entropy=_spread(entropy, supervised),
            is_top1=_spread(is_top1, supervised),
            label_mask=supervised,
        )

    model.forward = types.MethodType(forward, model)


def _is_whole(head: Any) -> bool:
    """False for a head that is an adapter's, or of which this process holds a part (FSDP changes its class)."""
    return type(head) is torch.nn.Linear and not hasattr(head.weight, "ds_id")


def _pads_right(mask: torch.Tensor | None) -> bool:
    return mask is not None and mask.ndim == 2 and bool((mask[:, 1:] <= mask[:, :-1]).all())


def _spread(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Back to one value a position; stays connected to the model where no position counts."""
    return values.new_zeros(places.shape).masked_scatter(places, values)
