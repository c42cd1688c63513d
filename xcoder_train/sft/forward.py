"""SFT's forward pass without the work that changes nothing: scores of what is learned, attention within examples.

On a CPU, without Triton, TRL 1.16 projects every position to the vocabulary, prompts and padding too, in tiles that run
forward twice and keep no softmax; for a small vocabulary that is a third of a step. And where a batch is padded on the
right, no token that counts looks at padding under causal attention, so a mask only keeps torch from its causal kernel.
On a GPU, TRL's own leaves most of it out.

Of packed rows, transformers would hand torch's kernel one mask over everything that is packed, all rows of a
micro-batch squared, and the kernel would compute each of its cells. Here it is called for one example after another,
with nothing to mask but what comes later.
"""

import functools
import types
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import linear
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from trl.trainer.utils import FusedCausalLMOutput

from xcoder_core.models.folder import FAMILIES
from xcoder_train.sft.data import IGNORED
from xcoder_train.sft.settings import MOST_LOGITS

# Architectures whose logits are their head's plain product: no scale, no cap, no experts.
_PLAIN_HEADS = ("llama", "qwen2", "qwen3")
_WITHIN_EXAMPLES = "sdpa_within_examples"


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


def attend_within_examples(model: PreTrainedModel) -> None:
    """Let `model` read rows that are packed; it then needs `cu_seq_lens_q`, as TRL's collator gives them.

    Two kinds are left as they are: flash attention, which knows where examples end, and models that do not attend to
    all that came before, whose masks say more than where examples end.
    """
    config = model.config
    is_plain = config.model_type in FAMILIES and getattr(config, "sliding_window", None) is None
    if config._attn_implementation == "sdpa" and is_plain:
        AttentionInterface.register(_WITHIN_EXAMPLES, _attend)
        model.set_attn_implementation(_WITHIN_EXAMPLES)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Queries, keys and values are (1, heads, tokens, head width); returns (1, tokens, heads, head width)."""
    parts = [
        sdpa_attention_forward(module, query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], None, **kwargs)[0]
        for a, b in pairwise(cu_seq_lens_q.tolist())
    ]
    return torch.cat(parts, 1), None
