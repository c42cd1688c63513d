"""The prompts of GRPO: which of the synthesis's are trained on, in which order, and which are held out."""

from collections.abc import Mapping
from itertools import islice

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
from xcoder_train.grpo.prompt_order import PromptOrder
from xcoder_train.grpo.settings import CurriculumSettings, GrpoSettings


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
    if len(prompts) < settings.prompts_per_set:
        raise InputError(
            f"grpo.prompts_per_step = {settings.prompts_per_step}, but there are only {len(prompts)} prompts {which}, "
            f"and {settings.prompts_per_set} are sampled at once. Lower it, or synthesise more tasks."
        )


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
