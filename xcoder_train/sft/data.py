"""From the SFT dataset of a synthesis run to token ids: the view, the tokens, what would be truncated, the packing."""

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

import pyarrow as pa

from xcoder_core.errors import InputError
from xcoder_core.files import write_json
from xcoder_core.models.prompt import Message, PromptStyle, render_prompts
from xcoder_core.problem import Solution
from xcoder_core.records import read_records, read_table
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import Membership, SynthLayout
from xcoder_train.sft.settings import SftDataSettings

if TYPE_CHECKING:  # rows are also chosen where no model is, and these imports take seconds
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of tokens that are read but not learned
_ENCODED_TOGETHER = 64  # examples: enough to keep all cores at work
_COLUMNS = ["problem_id", "solution_index", "style", "is_golden", "completion"]
_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32()))])


class Choice(TypedDict):
    """A solution that can be chosen; as in the table of the SFT dataset."""

    problem_id: str
    solution_index: int
    style: str
    is_golden: bool


class Conversation(TypedDict):
    """What is read, and the answer that is learned."""

    prompt: list[Message]
    completion: list[Message]


class Example(Choice, Conversation):
    """A solution with its texts."""


AnyChoice = TypeVar("AnyChoice", bound=Choice)


@dataclass(frozen=True)
class TokenStatistics:
    """What is trained on, in examples and tokens.

    `histogram` counts examples by the power of two that their length does not exceed; `squared_lengths` is what
    attention costs; `fingerprint` is the SHA-256 of all token ids and labels in the order of training.
    """

    examples: int
    tokens: int
    supervised_tokens: int
    longest: int
    truncated: int
    packed_rows: int
    squared_lengths: int
    histogram: dict[str, int]
    fingerprint: str

    @property
    def examples_per_row(self) -> float:
        """1 without packing; about 1.8 for X-Coder's data at 32,768 tokens a row."""
        return self.examples / self.packed_rows

    @property
    def mean_attended(self) -> float:
        """Squared lengths over lengths: twice the positions that a token attends to on average."""
        return self.squared_lengths / self.tokens


def select_rows(rows: list[AnyChoice], view: SftDataSettings, seed: int) -> list[AnyChoice]:
    """The rows of a view. Views are nested: with one seed, a smaller `tasks` or `solutions_per_task` is a subset.

    Tasks are ordered by a seeded hash of their id, so the order of a task never depends on which others are there.
    """
    if view.styles is not None:
        rows = [row for row in rows if row["style"] in view.styles]
    by_task: dict[str, list[AnyChoice]] = defaultdict(list)
    for row in rows:
        by_task[row["problem_id"]].append(row)
    order = sorted(by_task, key=lambda problem_id: derive_seed(seed, "sft", "task", problem_id))
    if view.tasks is not None:
        if view.tasks > len(order):
            raise InputError(
                f"sft.data.tasks asks for {view.tasks} tasks, but the dataset has {len(order)} with {_wanted(view)}. "
                "Lower it, or synthesise more tasks."
            )
        order = order[: view.tasks]
    selected = []
    for problem_id in order:
        solutions = sorted(by_task[problem_id], key=lambda row: (not row["is_golden"], row["solution_index"]))
        selected.extend(solutions[: view.solutions_per_task])
    if not selected:
        found = f"sft.data chooses 0 examples: the dataset has no task with {_wanted(view)}"
        raise InputError(f"{found}. Loosen sft.data, or look at the synthesis's funnel for what became of its tasks.")
    return selected


def _wanted(view: SftDataSettings) -> str:
    of_style = "" if view.styles is None else f" of style {' or '.join(view.styles)}"
    least = view.minimum_solutions
    return (f"at least {least} accepted solutions" if least else "solutions") + of_style


def read_pool(layout: SynthLayout, view: SftDataSettings, prompt_style: PromptStyle) -> list[Example]:
    """The rows that a view is taken from: those of the tasks with at least `minimum_solutions` accepted solutions.

    Tasks with many accepted solutions are easier, so views that differ in solutions per task compare only within one
    such pool. What counts are the distinct accepted solutions in the dataset, for raw candidates too.
    """
    return _with_minimum(read_rows(layout, verified=view.verified, prompt_style=prompt_style), layout, view)


def _with_minimum(rows: list[AnyChoice], layout: SynthLayout, view: SftDataSettings) -> list[AnyChoice]:
    if view.minimum_solutions is None:
        return rows
    accepted = count_accepted(layout)
    return [row for row in rows if accepted[row["problem_id"]] >= view.minimum_solutions]


def rows_of_view(layout: SynthLayout, view: SftDataSettings, seed: int) -> list[Choice]:
    """The rows of a view without their texts. Raises InputError where it asks for more than there is."""
    if view.verified:
        rows = read_table(_sft_table(layout), ["problem_id", "solution_index", "style", "is_golden"]).to_pylist()
    else:
        rows = _raw_rows(layout)
    return select_rows(_with_minimum(rows, layout, view), view, seed)


def count_pool(layout: SynthLayout, view: SftDataSettings) -> int:
    """Tasks that a view can choose from; reads no text."""
    table = read_table(_sft_table(layout), ["problem_id", "style"]).to_pylist()
    accepted = Counter(row["problem_id"] for row in table if view.styles is None or row["style"] in view.styles)
    return sum(count >= (view.minimum_solutions or 1) for count in accepted.values())


def count_accepted(layout: SynthLayout) -> Counter[str]:
    """Accepted solutions in the SFT dataset by problem_id."""
    return Counter(read_table(_sft_table(layout), ["problem_id"])["problem_id"].to_pylist())


def read_rows(layout: SynthLayout, *, verified: bool, prompt_style: PromptStyle) -> list[Example]:
    """The SFT rows of a finished synthesis: accepted solutions, or every candidate when `verified` is False.

    Prompts are in the style that is asked for, whichever the synthesis was published in.
    """
    if verified:
        rows = read_table(_sft_table(layout), _COLUMNS).to_pylist()
    else:
        chosen = _raw_rows(layout)
        wanted = {row["problem_id"] for row in chosen}
        solutions = (one for one in read_records(layout.solutions, Solution) if one.problem_id in wanted)
        rows = [{**row, "completion": _answer(one.response)} for row, one in zip(chosen, solutions, strict=True)]
    prompts = render_prompts(layout, {row["problem_id"] for row in rows}, prompt_style)
    return [row | {"prompt": prompts[row["problem_id"]]} for row in rows]


def read_held_out(layout: SynthLayout, prompt_style: PromptStyle, seed: int) -> list[Conversation]:
    """The golden solutions of the tasks that are kept for evaluation, in an order from the seed."""
    held_out = {m.problem_id for m in read_records(layout.memberships, Membership) if m.use == "evaluation"}
    solutions = read_records(layout.solutions, Solution) if held_out else ()
    golden = {one.problem_id: one.response for one in solutions if one.is_golden and one.problem_id in held_out}
    if not golden:
        raise InputError(
            f"sft.evaluation: {layout.solutions} holds no golden solution of a task for evaluation. Give the synthesis "
            "a split with `use: evaluation`, or leave sft.evaluation out."
        )
    prompts = render_prompts(layout, golden.keys(), prompt_style)
    order = sorted(golden, key=lambda problem_id: derive_seed(seed, "sft", "held out", problem_id))
    return [{"prompt": prompts[problem_id], "completion": _answer(golden[problem_id])} for problem_id in order]


def held_out_tokens(
    rows: list[Conversation], tokenizer: "PreTrainedTokenizerBase", *, max_length: int, tasks: int
) -> "Dataset":
    """The first `tasks` rows that fit `max_length`, as columns `input_ids` and `labels`."""
    from datasets import Dataset

    examples = (pair for pair in _token_ids(rows, tokenizer) if sum(map(len, pair)) <= max_length)
    tokens = [
        {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}
        for prompt, answer in islice(examples, tasks)
    ]
    if not tokens:
        raise InputError(
            f"sft.evaluation: all {len(rows)} held-out solutions are longer than sft.max_length = {max_length} tokens"
        )
    return Dataset.from_list(tokens)


def _answer(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _raw_rows(layout: SynthLayout) -> list[Choice]:
    """Every candidate of the tasks for SFT, in the order of the table, without its text."""
    styles = dict(zip(*read_table(layout.problems, ["problem_id", "style"]).to_pydict().values(), strict=True))
    members = {m.problem_id for m in read_records(layout.memberships, Membership) if m.use == "sft"}
    return [
        {
            "problem_id": row["problem_id"],
            "solution_index": row["index"],
            "style": styles[row["problem_id"]],
            "is_golden": False,  # raw candidates are taken as they come, not best first
        }
        for row in read_table(layout.solutions, ["problem_id", "index"]).to_pylist()
        if row["problem_id"] in members
    ]


def _sft_table(layout: SynthLayout) -> Path:
    table = layout.dataset("sft") / "train.parquet"
    if not table.exists():
        raise InputError(f"{table} does not exist; SFT needs a synthesis with a split whose `use` is sft")
    return table


def corpus(rows: Iterable[Conversation]) -> Iterator[str]:
    """The texts that a tokenizer is trained on: every prompt and completion."""
    for row in rows:
        for message in (*row["prompt"], *row["completion"]):
            yield message["content"]


def tokenize(
    rows: list[Example],
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    *,
    max_length: int,
    truncation_limit: float,
    packing: bool,
    seed: int,
) -> TokenStatistics:
    """Write `rows` as token ids to `folder`, in the order in which training begins; `read_tokens` reads them back.

    They go to disk one by one, since X-Coder's data is 3.4 billion tokens, and the processes of a node map one file.
    Prompts carry the label -100. An example longer than `max_length` cannot teach the model to stop, so it is left
    out; more than `truncation_limit` of them is an error.
    """
    from datasets import Dataset

    order = list(range(len(rows)))
    random.Random(derive_seed(seed, "sft", "order")).shuffle(order)
    lengths: list[int] = []
    too_long, longest, supervised, digest = 0, 0, 0, hashlib.sha256()
    examples = folder / "examples.arrow"
    with pa.ipc.new_stream(examples, _SCHEMA) as file:
        for prompt, answer in _token_ids((rows[index] for index in order), tokenizer):
            length = len(prompt) + len(answer)
            longest = max(longest, length)
            if length > max_length:
                too_long += 1
                continue
            lengths.append(length)
            supervised += len(answer)
            row = {"input_ids": [prompt + answer], "labels": [[IGNORED] * len(prompt) + answer]}
            batch = pa.record_batch(row, schema=_SCHEMA)
            for column in batch.columns:
                digest.update(column.values.buffers()[1])
            file.write_batch(batch)
    if not lengths or too_long > truncation_limit * len(rows):
        raise InputError(
            f"{too_long} of {len(rows)} examples are longer than sft.max_length = {max_length} tokens (the longest has "
            f"{longest}); sft.truncation_limit allows a share of {truncation_limit}. Raise max_length, or accept the "
            "loss by raising truncation_limit."
        )
    dataset = Dataset.from_file(str(examples))
    if packing:
        from trl import pack_dataset

        dataset = pack_dataset(dataset, max_length, "bfd")
    dataset.save_to_disk(folder / "rows")
    for temporary in folder.glob("*.arrow"):
        temporary.unlink()
    statistics = TokenStatistics(
        examples=len(lengths),
        tokens=sum(lengths),
        supervised_tokens=supervised,
        longest=longest,
        truncated=too_long,
        packed_rows=len(dataset),
        squared_lengths=sum(length * length for length in lengths),
        histogram=_histogram(lengths),
        fingerprint=digest.hexdigest(),
    )
    write_json(folder / "statistics.json", asdict(statistics))
    return statistics


def _token_ids(
    rows: Iterable[Conversation], tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[tuple[list[int], list[int]]]:
    from xcoder_core.models.chat import examples_token_ids

    rows = iter(rows)
    while together := list(islice(rows, _ENCODED_TOGETHER)):
        yield from examples_token_ids(
            tokenizer, [row["prompt"] for row in together], [row["completion"] for row in together]
        )


def read_tokens(folder: Path) -> "tuple[Dataset, TokenStatistics]":
    """What `tokenize` wrote: columns `input_ids` and `labels` (and `seq_lengths` when packed), mapped from disk."""
    from datasets import Dataset

    statistics = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    return Dataset.load_from_disk(folder / "rows"), TokenStatistics(**statistics)


def _histogram(lengths: list[int]) -> dict[str, int]:
    """Examples by the power of two that their length does not exceed, from the shortest to the longest such power."""
    exponents = Counter((length - 1).bit_length() for length in lengths)
    return {str(2**exponent): exponents[exponent] for exponent in range(min(exponents), max(exponents) + 1)}
