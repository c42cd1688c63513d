"""Rollouts that their sampler and the policy find differently likely: a mask that TRL lacks, and what is logged.

The ratio of a token is its probability by the policy over that by its sampler; TRL makes the weights of tokens from it.
The mask is that of verl ("Geo-RS") and SkyRL. docs/grpo.md has the equations.
"""

from collections.abc import Callable, Mapping

import torch

Rollouts = Mapping[str, torch.Tensor]


def masked_by_mean(rollouts: Rollouts, bounds: tuple[float, float]) -> torch.Tensor:
    """TRL's weights; 0 in each rollout whose geometric mean of ratios is outside the bounds."""
    mean = (_log_ratios(rollouts).sum(1) / rollouts["completion_mask"].sum(1).clamp(min=1)).exp()
    is_kept = (bounds[0] <= mean) & (mean <= bounds[1])
    return torch.where(is_kept[:, None], rollouts["importance_sampling_ratio"], 0.0)


def figures(rollouts: Rollouts, gather: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
    """What is logged, over the rollouts of all processes of which a token is in the loss."""
    tokens, ratios = rollouts["completion_mask"].bool(), _log_ratios(rollouts)
    parts = (tokens, tokens & (rollouts["importance_sampling_ratio"] == 0), ratios, torch.expm1(ratios) - ratios)
    all_sums = gather(torch.stack([part.sum(1, dtype=torch.float32) for part in parts], dim=1))
    lengths, masked, log_ratio, divergence = all_sums[all_sums[:, 0] > 0].T
    if not len(lengths):
        return {}
    means = (log_ratio / lengths).exp()
    return {
        "sampling/masked_share": (masked.sum() / lengths.sum()).item(),
        "sampling/masked_rollouts": (masked > 0).float().mean().item(),
        "sampling/kl": (divergence.sum() / lengths.sum()).item(),
        "sampling/geometric_mean/min": means.min().item(),
        "sampling/geometric_mean/max": means.max().item(),
    }


def _log_ratios(rollouts: Rollouts) -> torch.Tensor:
    """Of each token; 0 after the end of a completion, and, as in TRL, where the sampler gave no number."""
    difference = rollouts["old_per_token_logps"] - rollouts["sampling_per_token_logps"]
    return (difference * rollouts["completion_mask"]).nan_to_num(nan=0.0)
