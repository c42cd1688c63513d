"""The order of GRPO's prompts: another in each epoch, the same after a resume, and a curriculum where one is set."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

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
        """In the first epoch this is what TRL's own sampler draws from the trainer's seed."""
        names = ("trainer",) if epoch == 0 else ("trainer", epoch)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "grpo", *names) % 2**31)
        order: list[int] = torch.randperm(self.prompts, generator=generator).tolist()
        return order


class GroupSampler(Sampler[int]):
    """Yields the prompts of the epoch that begins, each `rollouts` times in a row, as TRL's RepeatSampler does.

    TRL's own draws its second epoch from a generator that a resumed run begins anew, so such a run would meet the
    first epoch's order again. Prompts that do not fill a step are left out of an epoch.
    """

    def __init__(
        self, order: PromptOrder, epoch: Callable[[], int], *, prompts_per_step: int, rollouts: int, repeats: int
    ) -> None:
        self.order, self.epoch = order, epoch
        self.prompts_per_step, self.rollouts, self.repeats = prompts_per_step, rollouts, repeats

    @property
    def steps(self) -> int:
        """Steps of one epoch, each with `prompts_per_step` prompts."""
        return self.order.prompts // self.prompts_per_step

    def __iter__(self) -> Iterator[int]:
        order = self.order.of_epoch(self.epoch())
        for step in range(self.steps):
            prompts = order[step * self.prompts_per_step : (step + 1) * self.prompts_per_step]
            for _ in range(self.repeats):
                for prompt in prompts:
                    yield from [prompt] * self.rollouts

    def __len__(self) -> int:
        return self.steps * self.prompts_per_step * self.rollouts * self.repeats
