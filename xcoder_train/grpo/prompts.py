"""The prompts of GRPO: which of the synthesis's are trained on, in which order, and which are held out.

Each epoch has an order of its own, which is the same after a resume, and a curriculum where one is set.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from evaluation.benchmarks import load_heldout
from xcoder_core.errors import InputError
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.prompt import PromptStyle, render_prompt, render_prompts
from xcoder_core.records import read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.settings import require
from xcoder_core.stage import SynthLayout
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


def curriculum(
    prompts: Dataset, rates: Mapping[str, float], settings: CurriculumSettings, seed: int
) -> tuple[Dataset, PromptOrder]:
    """The prompts that can teach something, and their order."""
    without_lesson = {0.0: settings.drop_unsolved, 1.0: settings.drop_solved}
    kept = [
        row for row, name in enumerate(prompts["problem_id"]) if name in rates and not without_lesson.get(rates[name])
    ]
    prompts = prompts.select(kept)
    own = [rates[name] for name in prompts["problem_id"]]
    return prompts, PromptOrder(len(kept), seed, own, settings.mixing)


def held_out_prompts(
    layout: SynthLayout, tokenizer: PreTrainedTokenizerBase, settings: GrpoSettings, style: PromptStyle, seed: int
) -> Dataset:
    """Columns `prompt`, `problem_id`, `held_out` of the tasks for evaluation that fit `max_prompt_length`, by seed."""
    benchmark = load_heldout(layout.folder)
    problems = sorted(benchmark.problems, key=lambda one: derive_seed(seed, "grpo", "held out", one.problem_id))
    asked = ((problem.problem_id, render_prompt(problem, style)) for problem in problems)
    short = (
        {"problem_id": name, "prompt": prompt, "held_out": True}
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
