"""Muon for the hidden matrices, AdamW for everything else, as one optimiser that the Trainer steps and saves.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) orthogonalises the momentum of two-dimensional
weights. Embeddings, the output head, norms and biases are not matrices in that sense and stay with AdamW.
"""

from collections.abc import Callable
from typing import Any

import torch

from xcoder_train.training.settings import OptimizerSettings, TrainingSettings


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimisers behind one interface: groups and state are shared, so schedulers, shards and resume see both."""

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        self._parts: tuple[torch.optim.Optimizer, ...] = (muon, adamw)
        groups = [group for part in self._parts for group in part.param_groups]
        super().__init__([parameter for group in groups for parameter in group["params"]], {})
        self.param_groups = groups
        self._share()

    def _share(self) -> None:
        """Give the parts this optimiser's state, and each its own of the groups."""
        start = 0
        for part in self._parts:
            part.state = self.state
            part.param_groups = self.param_groups[start : start + len(part.param_groups)]
            start += len(part.param_groups)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Step both; `closure` is evaluated once, before either."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self._parts:
            part.zero_grad(set_to_none)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore state and groups, which torch replaces by loaded ones."""
        super().load_state_dict(state_dict)
        self._share()


class MuonFactory:
    """What the Trainer calls with the model it is about to train (an optimiser factory in transformers' sense)."""

    def __call__(
        self,
        model: torch.nn.Module,
        *,
        lr: float,
        lr_rest: float,
        momentum: float,
        weight_decay: float,
        betas: tuple[float, float],
        newton_schulz_steps: int,
    ) -> MuonWithAdamW:
        """`lr` is for hidden matrices, `lr_rest` for the rest; both follow the same schedule."""
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                hidden = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
                (matrices if hidden else rest).append(parameter)
        return MuonWithAdamW(
            torch.optim.Muon(
                matrices,
                lr=lr,
                momentum=momentum,
                weight_decay=weight_decay,
                ns_steps=newton_schulz_steps,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(rest, lr=lr_rest, betas=betas, weight_decay=0.0),
        )


OptimizerFactory = tuple[type, dict[str, Any]]
"""What the Trainer takes as `optimizer_cls_and_kwargs`."""


def optimizer_factory(settings: OptimizerSettings, training: TrainingSettings) -> OptimizerFactory | None:
    """Muon as the settings have it; None leaves the choice to the Trainer's own AdamW."""
    if settings.name == "adamw":
        return None
    return MuonFactory, {
        "lr": training.learning_rate,
        "lr_rest": settings.learning_rate_rest or training.learning_rate,
        "momentum": settings.momentum,
        "weight_decay": training.weight_decay,
        "betas": (training.adam_beta1, training.adam_beta2),
        "newton_schulz_steps": settings.newton_schulz_steps,
    }
