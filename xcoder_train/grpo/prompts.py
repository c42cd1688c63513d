"""The prompts of GRPO: which of the synthesis's are trained on, in which order, and which are held out."""

from collections.abc import Mapping
from itertools import islice

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.benchmarks import load_heldout
from reward.executor import Executor
from reward.test_table import TestTable
from xcoder_core.errors import InputError
from xcoder_core.layout import SynthLayout
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.generation import SamplingSettings
from xcoder_core.models.prompt import PromptStyle, render_prompt, render_prompts
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.records import read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.settings import require
from xcoder_core.share import Share, await_files
from xcoder_core.stage import StageContext
from xcoder_train.grpo.pass_rates import kept_by, measure_pass_rates, pass_rate_table, read_given, read_measured
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
    """Raise where a step cannot be filled: TRL would end at once and leave the model as it was."""
    if len(prompts) < settings.prompts_per_step:
        raise InputError(
            f"grpo.prompts_per_step = {settings.prompts_per_step}, but there are only {len(prompts)} prompts {which}. "
            "Lower it, or synthesise more tasks."
        )


def pass_rates(
    prompts: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    judge: Executor,
    tests: TestTable,
    settings: GrpoSettings,
    context: StageContext,
    state: PartialState,
) -> dict[str, float]:
    """Pass rate of each prompt by problem, from the recipe's file or measured by all processes together."""
    asked = require(settings.curriculum)
    if asked.pass_rates is not None:
        return read_given(asked.pass_rates, prompts["problem_id"])
    model.to(state.device)
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.device.type == "cuda"):  # as in training
        measure_pass_rates(
            prompts.to_list(),
            TransformersGenerator(model, tokenizer, settings.rollout_batch),
            judge,
            tests,
            sampling_settings(settings),
            samples=asked.samples,
            deadline_seconds=settings.reward.deadline_seconds,
            seed=context.seed,
            folder=context.folder,
            share=Share(state.process_index, state.num_processes),
        )
    shares = (Share(index, state.num_processes) for index in range(state.num_processes))
    await_files(pass_rate_table(context.folder, share) for share in shares)
    return read_measured(context.folder, state.num_processes)


def curriculum(
    prompts: Dataset, rates: Mapping[str, float], settings: CurriculumSettings, seed: int
) -> tuple[Dataset, PromptOrder]:
    """The prompts that can teach something, and their order."""
    kept = [row for row, name in enumerate(prompts["problem_id"]) if kept_by(settings, rates[name])]
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


def sampling_settings(settings: GrpoSettings) -> SamplingSettings:
    """How rollouts are sampled."""
    return SamplingSettings(
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        repetition_penalty=settings.training.repetition_penalty,
        max_new_tokens=settings.max_completion_length,
    )
