"""Which rows SFT trains on, and what becomes of them as tokens."""

import json
from collections import Counter
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.models.loading import train_tokenizer
from xcoder_core.models.prompt import render_prompt
from xcoder_core.problem import Problem, Solution
from xcoder_core.records import read_records
from xcoder_core.stage import SynthLayout
from xcoder_train.plan.make import make_plan
from xcoder_train.sft.data import IGNORED, corpus, read_pool, read_rows, read_tokens, select_rows, tokenize
from xcoder_train.sft.settings import SftDataSettings

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows(synthesis: Path) -> list[Row]:
    return read_rows(SynthLayout(synthesis), verified=True, prompt_style="plain")


def _keys(rows: list[Row]) -> list[tuple[str, int]]:
    return [(row["problem_id"], row["solution_index"]) for row in rows]


def test_a_smaller_view_is_contained_in_a_larger_one_of_the_same_seed(rows: list[Row]) -> None:
    most = len({row["problem_id"] for row in rows})
    sizes = list(product(range(1, most + 1, 3), (1, 2, 3, None)))
    views = {
        (tasks, solutions): _keys(select_rows(rows, SftDataSettings(tasks=tasks, solutions_per_task=solutions), 7))
        for tasks, solutions in sizes
    }
    for (tasks, solutions), view in views.items():
        assert len({problem_id for problem_id, _ in view}) == tasks
        assert max(Counter(problem_id for problem_id, _ in view).values()) <= (solutions or 99)
        for (more_tasks, more_solutions), larger in views.items():
            if more_tasks >= tasks and (more_solutions or 99) >= (solutions or 99):
                assert set(view) <= set(larger)


def test_the_choice_of_tasks_does_not_depend_on_the_order_of_rows_and_does_on_the_seed(rows: list[Row]) -> None:
    view = SftDataSettings(tasks=4)
    assert _keys(select_rows(rows, view, 7)) == _keys(select_rows(rows[::-1], view, 7))
    assert len({tuple(_keys(select_rows(rows, view, seed))) for seed in range(6)}) > 3


def test_the_golden_solution_is_taken_first(rows: list[Row]) -> None:
    assert all(row["is_golden"] for row in select_rows(rows, SftDataSettings(solutions_per_task=1), 0))


def test_a_style_is_kept_alone(rows: list[Row]) -> None:
    styles = {row["style"] for row in rows}
    assert len(styles) > 1
    for style in styles:
        chosen = select_rows(rows, SftDataSettings(styles=(style,)), 0)
        assert _keys(chosen) != []
        assert {row["style"] for row in chosen} == {style}


def test_more_tasks_than_there_are_is_refused_with_both_numbers(rows: list[Row]) -> None:
    there = len({row["problem_id"] for row in rows})
    with pytest.raises(InputError, match=rf"asks for 500 tasks, but the dataset has {there}"):
        select_rows(rows, SftDataSettings(tasks=500), 0)


def test_a_view_of_nothing_says_so_and_speaks_of_no_length(rows: list[Row]) -> None:
    style = rows[0]["style"]
    with pytest.raises(InputError, match=rf"0 examples: the dataset has no task with solutions of style {style}"):
        select_rows([row for row in rows if row["style"] != style], SftDataSettings(styles=(style,)), 0)


def test_unverified_rows_are_every_candidate_as_it_comes(synthesis: Path, rows: list[Row]) -> None:
    layout = SynthLayout(synthesis)
    raw = read_rows(layout, verified=False, prompt_style="plain")
    tasks = {row["problem_id"] for row in rows}
    pool = [solution for solution in read_records(layout.solutions, Solution) if solution.problem_id in tasks]
    assert {row["problem_id"] for row in raw} == tasks
    assert Counter(row["completion"][0]["content"] for row in raw) == Counter(one.response for one in pool)
    assert len(raw) > len(rows)
    assert [index for _, index in _keys(select_rows(raw, SftDataSettings(solutions_per_task=1), 0))] == [0] * len(tasks)
    prompts = {row["problem_id"]: row["prompt"] for row in rows}
    assert all(row["prompt"] == prompts[row["problem_id"]] for row in raw)


@pytest.mark.parametrize("verified", [True, False])
def test_prompts_are_worded_as_the_model_is_asked_whatever_the_dataset_has(synthesis: Path, verified: bool) -> None:
    layout = SynthLayout(synthesis)
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    for row in read_rows(layout, verified=verified, prompt_style="livecodebench"):
        assert row["prompt"] == render_prompt(problems[row["problem_id"]], "livecodebench")


@pytest.mark.parametrize(
    "view",
    [
        {},
        {"tasks": 5},
        {"tasks": 5, "solutions_per_task": 2},
        {"minimum_solutions": 4, "solutions_per_task": 1},
        {"styles": ["codeforces"]},
    ],
    ids=str,
)
def test_the_plan_counts_the_rows_of_the_view(view: Row, synthesis: Path, tmp_path: Path) -> None:
    planned = _planned(view, synthesis, tmp_path)
    settings = SftDataSettings.model_validate(view)
    trained = select_rows(read_pool(SynthLayout(synthesis), settings, "plain"), settings, 0)
    assert 0 < planned["examples"] == len(trained) and planned["examples_are"] == "counted"
    assert planned["steps"] == round(len(trained) * 4 / 2)
    assert planned["tokens_at_most"] == planned["steps"] * 2 * 512


def test_the_plan_refuses_a_view_that_the_run_would_refuse(synthesis: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="asks for 1000 tasks"):
        _planned({"tasks": 1000}, synthesis, tmp_path)


def _planned(view: Row, synthesis: Path, folder: Path) -> Row:
    values = {
        "name": "planned",
        "runs_dir": str(folder),
        "inputs": {"synth": str(synthesis)},
        "model": {"init": {"hidden_size": 32, "layers": 2}},
        "sft": {"batch": 2, "packing": False, "max_length": 512, "data": view, "training": {"num_train_epochs": 4}},
    }
    (folder / "recipe.yaml").write_text(json.dumps(values))
    return make_plan(folder / "recipe.yaml", []).figures["stages"]["sft"]


def test_a_synthesis_without_sft_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SFT needs a synthesis with a split whose `use` is sft"):
        read_rows(SynthLayout(tmp_path), verified=True, prompt_style="plain")


def _tokenize(rows: list[Row], **changed: Any) -> Any:
    tokenizer = train_tokenizer(corpus(rows), 400)
    settings = {"max_length": 512, "truncation_limit": 0.0, "packing": False, "seed": 0}
    with TemporaryDirectory() as folder:
        written = tokenize(rows, tokenizer, Path(folder), **{**settings, **changed})
        dataset, statistics = read_tokens(Path(folder))
        assert statistics == written
        return tokenizer, list(dataset), statistics


def test_the_answer_is_supervised_to_its_end_and_the_prompt_is_not(rows: list[Row]) -> None:
    tokenizer, dataset, statistics = _tokenize(rows)
    answers, supervised = Counter(), 0
    for example in dataset:
        prompt = [token for token, label in zip(example["input_ids"], example["labels"], strict=True) if label < 0]
        answer = [label for label in example["labels"] if label != IGNORED]
        assert example["input_ids"] == prompt + answer
        assert prompt[-1] == tokenizer.convert_tokens_to_ids("<|assistant|>")
        assert answer[-1] == tokenizer.eos_token_id
        answers[tokenizer.decode(answer[:-1])] += 1
        supervised += len(answer)
    assert answers == Counter(row["completion"][0]["content"] for row in rows)
    assert (statistics.examples, statistics.supervised_tokens) == (len(rows), supervised)
    assert statistics.tokens == sum(len(example["input_ids"]) for example in dataset)
    assert statistics.examples_per_row == 1


def test_packing_keeps_every_example_whole_with_its_labels(rows: list[Row]) -> None:
    _, single, _ = _tokenize(rows)
    _, packed, statistics = _tokenize(rows, packing=True)
    documents = []
    for row in packed:
        assert len(row["input_ids"]) <= 512
        start = 0
        for length in row["seq_lengths"]:
            documents.append((tuple(row["input_ids"][start : start + length]), tuple(row["labels"][start:][:length])))
            start += length
        assert start == len(row["input_ids"]) == len(row["labels"])
    assert Counter(documents) == Counter((tuple(one["input_ids"]), tuple(one["labels"])) for one in single)
    assert statistics.examples_per_row == len(rows) / len(packed) > 1.5


def test_examples_that_are_too_long_are_counted_and_refused_above_the_limit(rows: list[Row]) -> None:
    _, dataset, statistics = _tokenize(rows)
    lengths = sorted(len(example["input_ids"]) for example in dataset)
    limit = lengths[-4]
    over = sum(length > limit for length in lengths)
    assert over > 0
    _, kept, cut = _tokenize(rows, max_length=limit, truncation_limit=0.5)
    assert (cut.truncated, cut.examples, cut.longest) == (over, len(rows) - over, statistics.longest)
    assert max(len(example["input_ids"]) for example in kept) == limit
    with pytest.raises(InputError, match=rf"{over} of {len(rows)} examples are longer than sft.max_length = {limit}"):
        _tokenize(rows, max_length=limit, truncation_limit=0.01)
    with pytest.raises(InputError, match="Raise max_length"):
        _tokenize(rows, max_length=3, truncation_limit=1.0)


def test_the_order_of_training_follows_from_the_seed(rows: list[Row]) -> None:
    orders = [[example["input_ids"] for example in _tokenize(rows, seed=seed)[1]] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_the_fingerprint_and_the_lengths_are_those_of_what_is_trained_on(rows: list[Row]) -> None:
    _, dataset, statistics = _tokenize(rows)
    lengths = [len(example["input_ids"]) for example in dataset]
    assert statistics.squared_lengths == sum(length**2 for length in lengths)
    assert sum(statistics.histogram.values()) == len(lengths)
    for limit, count in statistics.histogram.items():
        assert count == sum(int(limit) // 2 < length <= int(limit) for length in lengths)
    changed = [{**rows[0], "completion": [{"role": "assistant", "content": "pass"}]}, *rows[1:]]
    assert _tokenize(rows)[2].fingerprint == statistics.fingerprint
    assert len({statistics.fingerprint, _tokenize(changed)[2].fingerprint, _tokenize(rows, seed=1)[2].fingerprint}) == 3


def test_a_style_alone_is_contained_in_several_styles(rows: list[Row]) -> None:
    styles = sorted({row["style"] for row in rows})
    alone, several = (SftDataSettings(styles=tuple(styles[:count]), solutions_per_task=2) for count in (1, 2))
    assert set(_keys(select_rows(rows, alone, 3))) < set(_keys(select_rows(rows, several, 3)))
