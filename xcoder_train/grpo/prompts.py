"""The prompts of GRPO: which of the synthesis's are trained on, in which order, and which are held out.

The order is another one in each epoch, the same after a resume, and a curriculum where one is set.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from evaluation.benchmarks import load_heldout
from xcoder_core.errors import InputError
from xcoder_core.layout import SynthLayout
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.prompt import PromptStyle, render_prompt, render_prompts
from xcoder_core.records import read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.settings import require
from xcoder_train.grpo.settings import CurriculumSettings, GrpoSettings


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


def load_prompts(
    layout: SynthLayout, tokenizer: PreTrainedTokenizerBase, settings: GrpoSettings, style: PromptStyle
) -> tuple[Dataset, int]:
    """Columns `prompt` and `problem_id`, and how many prompts were longer than `max_prompt_length`."""
    table = layout.dataset("rl") / "train.parquet"
    if not table.exists():
        raise InputError(f"{table} does not exist; GRPO needs a synthesis with a split whose `use` is rl")
    rows = read_table(table, columns=["problem_id"]).to_pylist()
    prompts = render_prompts(layout, {row["problem_id"] for row in rows}, style)
    rows = [{**row, "prompt": prompts[row["problem_id"]]} for row in rows]
    kept = [row for row in rows if len(prompt_token_ids(tokenizer, row["prompt"])) <= settings.max_prompt_length]
    if not kept:
        raise InputError(
            f"all {len(rows)} prompts have more than grpo.max_prompt_length = {settings.max_prompt_length} tokens"
        )
    return Dataset.from_list(kept), len(rows) - len(kept)


def refuse_too_few(prompts: Dataset, settings: GrpoSettings, which: str) -> None:
    """Raise InputError where a step cannot be filled: TRL would end at once, with the model unchanged."""
    if len(prompts) < settings.prompts_per_step:
        raise InputError(
            f"grpo.prompts_per_step = {settings.prompts_per_step}, but there are only {len(prompts)} prompts {which}. "
            "Lower it, or synthesise more tasks."
        )


def curriculum(
    prompts: Dataset, rates: Mapping[str, float], settings: CurriculumSettings, seed: int
) -> tuple[Dataset, PromptOrder]:
    """The prompts that can teach something, and their order."""
    without_lesson = {0.0: settings.drop_unsolved, 1.0: settings.drop_solved}
    kept = [row for row, name in enumerate(prompts["problem_id"]) if not without_lesson.get(rates[name])]
    prompts = prompts.select(kept)
    own = [rates[name] for name in prompts["problem_id"]]
    return prompts, PromptOrder(len(kept), seed, own, settings.mixing)


def held_out_prompts(
    layout: SynthLayout, tokenizer: PreTrainedTokenizerBase, settings: GrpoSettings, style: PromptStyle, seed: int
) -> Dataset:
    """Columns `prompt` and `problem_id` of tasks kept for evaluation that fit `max_prompt_length`, chosen by seed."""
    benchmark = load_heldout(layout.folder)
    problems = sorted(benchmark.problems, key=lambda one: derive_seed(seed, "grpo", "held out", one.problem_id))
    asked = ((problem.problem_id, render_prompt(problem, style)) for problem in problems)
    short = (
        {"problem_id": name, "prompt": prompt}
        for name, prompt in asked
        if len(prompt_token_ids(tokenizer, prompt)) <= settings.max_prompt_length
    )
    rows = list(islice(short, require(settings.evaluation).tasks))
    if not rows:
        raise InputError(
            f"grpo.evaluation: all {len(problems)} held-out prompts have more than grpo.max_prompt_length = "
            f"{settings.max_prompt_length} tokens"
        )
    return Dataset.from_list(rows)
