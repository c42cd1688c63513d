"""From the SFT dataset of a synthesis run to token ids: the view, the tokens, what would be truncated, the packing."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from xcoder_train.config import SftDataSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.generation.chat import example_token_ids
from xcoder_train.core.layout import Membership, SynthLayout
from xcoder_train.core.problem import Problem, Solution
from xcoder_train.core.prompt import PromptStyle, render_prompt
from xcoder_train.core.records import read_records, read_table
from xcoder_train.core.seeds import derive_seed

IGNORED = -100  # the label of tokens that are read but not learned


@dataclass(frozen=True)
class TokenStatistics:
    """What training will see, in examples and tokens."""

    examples: int
    tokens: int
    supervised_tokens: int
    longest: int
    truncated: int
    packed_rows: int

    @property
    def examples_per_row(self) -> float:
        """1 without packing; about 1.8 for X-Coder's data at 32,768 tokens a row."""
        return self.examples / self.packed_rows


def select_rows(rows: list[dict[str, Any]], view: SftDataSettings, seed: int) -> list[dict[str, Any]]:
    """The rows of a view. Views are nested: with one seed, a smaller `tasks` or `solutions_per_task` is a subset.

    Tasks are ordered by a seeded hash of their id, so the order of a task never depends on which others are there.
    """
    if view.styles is not None:
        rows = [row for row in rows if row["style"] in view.styles]
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_task[row["problem_id"]].append(row)
    order = sorted(by_task, key=lambda problem_id: derive_seed(seed, "sft", "task", problem_id))
    if view.tasks is not None:
        if view.tasks > len(order):
            raise InputError(
                f"sft.data.tasks asks for {view.tasks} tasks, but the dataset has {len(order)} with solutions. "
                "Lower it, or synthesise more tasks."
            )
        order = order[: view.tasks]
    selected = []
    for problem_id in order:
        solutions = sorted(by_task[problem_id], key=lambda row: (not row["is_golden"], row["solution_index"]))
        selected.extend(solutions[: view.solutions_per_task])
    return selected


def read_rows(layout: SynthLayout, *, verified: bool, prompt_style: PromptStyle) -> list[dict[str, Any]]:
    """The SFT rows of a finished synthesis: accepted solutions, or every candidate when `verified` is False."""
    if verified:
        table = layout.dataset("sft") / "train.parquet"
        if not table.exists():
            raise InputError(f"{table} does not exist; SFT needs a synthesis with a split whose `use` is sft")
        return read_table(table).to_pylist()
    members = {m.problem_id for m in read_records(layout.memberships, Membership) if m.use == "sft"}
    problems = {p.problem_id: p for p in read_records(layout.problems, Problem) if p.problem_id in members}
    return [
        {
            "problem_id": solution.problem_id,
            "solution_index": solution.index,
            "style": problems[solution.problem_id].style,
            "is_golden": False,  # raw candidates are taken as they come, not best first
            "prompt": render_prompt(problems[solution.problem_id], prompt_style),
            "completion": [{"role": "assistant", "content": solution.response}],
        }
        for solution in read_records(layout.solutions, Solution)
        if solution.problem_id in members
    ]


def corpus(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The texts that a tokenizer is trained on: every prompt and completion."""
    for row in rows:
        for message in (*row["prompt"], *row["completion"]):
            yield message["content"]


def tokenize(
    rows: list[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    truncation_limit: float,
    packing: bool,
    seed: int,
) -> tuple[Dataset, TokenStatistics]:
    """Columns `input_ids` and `labels` (and `seq_lengths` when packed), in the order in which training begins.

    Prompts carry the label -100. An example longer than `max_length` cannot teach the model to stop, so it is left
    out; more than `truncation_limit` of them is an error.
    """
    examples: list[dict[str, list[int]]] = []
    too_long = 0
    longest = 0
    for row in rows:
        prompt, answer = example_token_ids(tokenizer, row["prompt"], row["completion"])
        length = len(prompt) + len(answer)
        longest = max(longest, length)
        if length > max_length:
            too_long += 1
            continue
        examples.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    if not examples or too_long > truncation_limit * len(rows):
        raise InputError(
            f"{too_long} of {len(rows)} examples are longer than sft.max_length = {max_length} tokens (the longest has "
            f"{longest}); sft.truncation_limit allows a share of {truncation_limit}. Raise max_length, or accept the "
            "loss by raising truncation_limit."
        )
    random.Random(derive_seed(seed, "sft", "order")).shuffle(examples)
    dataset = Dataset.from_list(examples)
    if packing:
        from trl import pack_dataset

        dataset = pack_dataset(dataset, max_length, "bfd")
    tokens = sum(len(example["input_ids"]) for example in examples)
    supervised = sum(label != IGNORED for example in examples for label in example["labels"])
    return dataset, TokenStatistics(len(examples), tokens, supervised, longest, too_long, len(dataset))
