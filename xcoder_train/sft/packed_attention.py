"""Attention within the examples of a packed row by torch's own kernel, where flash attention is not there to do it.

transformers would hand that kernel one mask over everything that is packed, all rows of a micro-batch squared, and the
kernel would compute each of its cells. Here it is called for one example after another, with nothing to mask but what
comes later.
"""

from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from xcoder_core.models.shape import FAMILIES

NAME = "sdpa_within_examples"


def attend_within_examples(model: PreTrainedModel) -> None:
    """Let `model` read rows that are packed; it then needs `cu_seq_lens_q`, as TRL's collator gives them.

    Left as it is: flash attention, which knows where examples end, and models that do not attend to all that came
    before, whose masks say more than where examples end.
    """
    config = model.config
    is_plain = config.model_type in FAMILIES and getattr(config, "sliding_window", None) is None
    if config._attn_implementation == "sdpa" and is_plain:
        AttentionInterface.register(NAME, _attend)
        model.set_attn_implementation(NAME)


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
