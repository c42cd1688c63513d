"""The order of GRPO's prompts: another in each epoch, the same after a resume, and a curriculum where one is set."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xcoder_core.seeds import derive_seed


@dataclass(frozen=True)
class PromptOrder:
    """Decides every epoch's order from the seed alone.

    `pass_rates` are those of the prompts by the model that GRPO starts from, and `mixing` says how far chance may move
    a prompt from its place between the easiest and the hardest: 0 not at all, 1 anywhere (no curriculum).
    """

    prompts: int
    seed: int
    pass_rates: Sequence[float] | None = None
    mixing: float = 1.0

    def prompts_of(self, slots: range, unit: int) -> list[int]:
        """The prompts in these slots of the order over all epochs. An epoch uses whole units of prompts only."""
        each = self.prompts // unit * unit
        epochs = {epoch: self.of_epoch(epoch) for epoch in {slot // each for slot in slots}}
        return [epochs[slot // each][slot % each] for slot in slots]

    def of_epoch(self, epoch: int) -> list[int]:
        """Indices of all prompts, in the order in which this epoch meets them."""
        if self.pass_rates is None:
            return self._shuffled(epoch)
        chance = random.Random(derive_seed(self.seed, "grpo", "order", epoch))
        drawn = [chance.random() for _ in range(self.prompts)]
        rates = self.pass_rates
        by_rate = sorted(range(self.prompts), key=lambda prompt: (-rates[prompt], drawn[prompt]))
        place = {prompt: rank / self.prompts for rank, prompt in enumerate(by_rate)}
        return sorted(by_rate, key=lambda prompt: (1 - self.mixing) * place[prompt] + self.mixing * drawn[prompt])

    def _shuffled(self, epoch: int) -> list[int]:
        """In the first epoch this is what TRL's own sampler draws from the trainer's seed.

        TRL draws its second epoch from a generator that a resumed run begins anew, so such a run would meet the first
        epoch's order again.
        """
        names = ("trainer",) if epoch == 0 else ("trainer", epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "grpo", *names) % 2**31)
        order: list[int] = torch.randperm(self.prompts, generator=generator).tolist()
        return order
