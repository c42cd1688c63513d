"""A running pass rate for each prompt while GRPO trains, and which prompts it asks next.

Most of a set are prompts whose rate is near a stated one, in turn; the others are those that waited longest, whatever
their rate. Nothing here is random: equals stand in the usual order. docs/grpo.md has the equations.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import fmean

from reward.verdict import Verdict
from xcoder_core.files import JsonObject
from xcoder_train.grpo.prompts import PromptOrder
from xcoder_train.grpo.rollout_files import Group
from xcoder_train.grpo.settings import OnlineRatesSettings


@dataclass
class OnlineRates:
    """`names` are the problems by their row. `rates` and `asked` (the slot in which one was asked last) are by name."""

    settings: OnlineRatesSettings
    order: PromptOrder
    names: list[str]
    rates: dict[str, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the pass rates that the order is by, where it is by some."""
        self.rates = dict(zip(self.names, self.order.pass_rates or (), strict=False))

    def state(self) -> JsonObject:
        """What a checkpoint keeps."""
        return {"rates": dict(self.rates), "asked": dict(self.asked)}

    def choose(self, slots: range, taken: Collection[str]) -> list[str]:
        """The problems for these slots; those that the set has already come last, for want of others."""
        expected, settings = self._expected(), self.settings
        off = {name: max(0.0, abs(rate - settings.target) - settings.within) for name, rate in expected.items()}
        usual = [self.names[row] for row in self.order.of_epoch(slots.start // len(self.names))]
        waited = sorted(usual, key=lambda name: (name in taken, self.asked.get(name, -1)))
        near = sorted(waited, key=lambda name: (name in taken, off[name]))
        revisits = int(slots.stop * settings.revisit) - int(slots.start * settings.revisit)
        return list(islice(cycle(dict.fromkeys([*waited[:revisits], *near])), len(slots)))

    def learn(self, groups: list[Group], log: Callable[[str, float], None]) -> None:
        """Move the rates of these groups' prompts, and log what was expected of each, and what was found."""
        expected = self._expected()
        for group in groups:
            name = group[0].problem_id
            log("rates/expected", expected[name])
            log("rates/asked_before", float(name in self.asked))
            self.asked[name] = group[0].slot
            judged = [one.worth.verdict == Verdict.AC for one in group if one.worth.reward is not None]
            if judged:
                solved = fmean(judged)
                log("rates/solved", solved)
                before = self.rates.get(name, solved)
                self.rates[name] = before + (1 - self.settings.keep) * (solved - before)

    def _expected(self) -> dict[str, float]:
        """The rate of each prompt; where none is known, the mean of the known ones, and at first the target."""
        unknown = fmean(self.rates.values()) if self.rates else self.settings.target
        return {name: self.rates.get(name, unknown) for name in self.names}
