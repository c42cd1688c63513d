"""Pass rates by a real model and judge, what they keep, and held-out tasks that are measured on the way."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from reward.config import JudgeSettings, RewardSettings
from reward.judge import Judge
from reward.test_table import TestTable
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.layout import SynthLayout
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.transformers_backend import TransformersGenerator
from xcoder_core.records import read_table, write_records
from xcoder_core.share import Share
from xcoder_core.stage import StageContext
from xcoder_train.grpo.pass_rates import (
    JudgedPolicy,
    PassRate,
    measure_pass_rates,
    pass_rate_table,
    read_given,
    read_measured,
)
from xcoder_train.grpo.prompts import curriculum, held_out_prompts
from xcoder_train.grpo.settings import CurriculumSettings, GrpoSettings
from xcoder_train.grpo.trainer import evaluation_batch
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.stage import perform

SETTINGS = GrpoSettings(
    max_completion_length=60, curriculum=CurriculumSettings(samples=4), reward=RewardSettings(deadline_seconds=300)
)


def _rows(synthesis: Path) -> list[dict[str, Any]]:
    """Prompts of both kinds: the model knows some of those that it was trained on."""
    return [
        {"problem_id": row["problem_id"], "prompt": row["prompt"]}
        for use in ("sft", "rl")
        for row in read_table(SynthLayout(synthesis).dataset(use) / "train.parquet").to_pylist()
        if row.get("solution_index", 0) == 0
    ]


def _measure(by_heart: Path, synthesis: Path, folder: Path, share: Share) -> None:
    model = AutoModelForCausalLM.from_pretrained(by_heart / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(by_heart / "model", padding_side="left")
    rows = list({row["problem_id"]: row for row in _rows(synthesis)}.values())
    tests = TestTable(SynthLayout(synthesis), folder / "tests.arrow", at_most=2, seed=0)
    with Judge(JudgeSettings(), workers=2) as judge:
        policy = JudgedPolicy(TransformersGenerator(model, tokenizer, 64), judge, tests)
        measure_pass_rates(rows, policy, SETTINGS, StageContext("run", "grpo", "key", folder, 1, {}), share)


def test_pass_rates_do_not_depend_on_how_many_processes_measure_them(
    by_heart: Path, synthesis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, shares in ((one, [Share(0, 1)]), (two, [Share(0, 2), Share(1, 2)])):
        folder.mkdir()
        for share in shares:
            _measure(by_heart, synthesis, folder, share)
    rates = read_measured(one, 1)
    assert read_measured(two, 2) == rates
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pass rates: ")]
    assert len(said) == 4 and said[0] == f"pass rates: 0 of {4 * len(rates)} samples"  # only the first process speaks
    assert said[1].startswith(f"pass rates: {4 * len(rates)} of {4 * len(rates)} samples in ")
    assert set(rates) == {row["problem_id"] for row in _rows(synthesis)}
    assert len(set(rates.values())) > 1  # the test is about something
    assert max(rates.values()) > 0


def test_a_prompt_that_was_never_judged_has_no_pass_rate(tmp_path: Path) -> None:
    write_records(
        pass_rate_table(tmp_path, Share(0, 1)), PassRate, [PassRate("a", 4, 1), PassRate("b", 0, 0)], ("problem_id",)
    )
    with pytest.raises(InfrastructureError, match="no sample of problem b could be judged"):
        read_measured(tmp_path, 1)


def _given(path: Path, **columns: list[Any]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_given_pass_rates_are_checked(tmp_path: Path) -> None:
    rates = _given(tmp_path / "rates.parquet", problem_id=["a", "b"], pass_rate=[0.25, 1.0])
    assert read_given(rates, ["b", "a"]) == {"a": 0.25, "b": 1.0}
    with pytest.raises(InputError, match="gives None for problem c"):
        read_given(rates, ["a", "c"])
    with pytest.raises(InputError, match="lacks the column.* pass_rate"):
        read_given(_given(tmp_path / "other.parquet", problem_id=["a"]), ["a"])
    with pytest.raises(InputError, match="gives 7.0 for problem a; expected a number from 0 to 1"):
        read_given(_given(tmp_path / "high.parquet", problem_id=["a"], pass_rate=[7.0]), ["a"])


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ["easy", "middle", "hard"]),
        ({"drop_solved": False}, ["always", "easy", "middle", "hard"]),
        ({"drop_unsolved": False}, ["easy", "middle", "hard", "never"]),
    ],
)
def test_prompts_that_teach_nothing_are_dropped_and_the_rest_ordered(settings: dict[str, Any], kept: list[str]) -> None:
    rates = {"never": 0.0, "middle": 0.5, "always": 1.0, "easy": 0.9, "hard": 0.1}
    prompts = Dataset.from_list([{"problem_id": name, "prompt": []} for name in rates])
    chosen, order = curriculum(prompts, rates, CurriculumSettings(mixing=0, **settings), seed=0)
    assert [chosen["problem_id"][place] for place in order.of_epoch(0)] == kept


@pytest.mark.parametrize(
    ("tasks", "samples", "processes", "at_most", "each"),
    [
        (64, 2, 1, 64, 64),  # two full batches
        (3, 2, 2, 64, 3),  # not 64, most of which would be the same tasks again
        (100, 2, 8, 64, 25),
        (10, 4, 2, 7, 4),  # three batches for each process, of two tasks over both
        (2, 8, 1, 4, 8),  # a group is never divided between batches
        (5, 3, 2, 64, 9),  # 15 completions in 18 places: three tasks for each
    ],
)
def test_held_out_tasks_fill_batches_evenly(tasks: int, samples: int, processes: int, at_most: int, each: int) -> None:
    assert evaluation_batch(tasks, samples, processes, at_most) == each
    assert each * processes % samples == 0


def test_held_out_prompts_are_no_longer_than_those_of_training(by_heart: Path, synthesis: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(by_heart / "model")

    def chosen(longest: int) -> list[int]:
        settings = GrpoSettings.model_validate({"evaluation": {"tasks": 9}, "max_prompt_length": longest})
        rows = held_out_prompts(SynthLayout(synthesis), tokenizer, settings, "plain", 0)
        return [len(prompt_token_ids(tokenizer, row["prompt"])) for row in rows]

    every = chosen(500)
    assert min(every) < max(every) and len(every) == 4
    assert sorted(chosen(max(every) - 1)) == sorted(length for length in every if length < max(every))
    with pytest.raises(InputError, match="all 4 held-out prompts have more than grpo.max_prompt_length = 2 tokens"):
        chosen(2)


def test_a_stage_meets_prompts_from_easy_to_hard_and_measures_held_out_tasks(
    by_heart: Path, synthesis: Path, tmp_path: Path, recipe_values: Callable[..., Any]
) -> None:
    problems = [row["problem_id"] for row in _rows(synthesis)]
    rates = {name: (n % 5) / 4 for n, name in enumerate(dict.fromkeys(problems))}
    table = _given(tmp_path / "rates.parquet", problem_id=list(rates), pass_rate=list(rates.values()))
    values = recipe_values(
        "grpo",
        prompts_per_step=1,
        curriculum={"pass_rates": str(table), "mixing": 0},
        evaluation={"every_steps": 2, "tasks": 3, "samples": 2},
        training={"max_steps": 3},
    )
    recipe, folder = Recipe.model_validate(values), tmp_path / "stage"
    folder.mkdir()
    inputs = {"synth": synthesis, "sft": by_heart}
    perform(recipe, StageContext("tiny", "grpo", "stagekey", folder, recipe.seed, inputs))

    problem_of = {row["prompt"][0]["content"]: row["problem_id"] for row in _rows(synthesis)}
    met = defaultdict(set)
    for file in sorted((folder / "checkpoints" / "completions").glob("*.parquet")):
        for row in pyarrow.parquet.read_table(file).to_pylist():
            met[row["step"]].add(rates[problem_of[row["prompt"][0]["content"]]])
    assert sorted(met) == [1, 2, 3]  # an evaluation replaces no table of a step
    order = [next(iter(met[step])) for step in (1, 2, 3)]
    assert order == sorted(order, reverse=True)
    assert not {0.0, 1.0} & set(order)

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    held_out = [line for line in lines if "eval_reward" in line]
    assert [line["step"] for line in held_out] == [0, 2, 3]  # before, on the way, and at the end
    assert all(0 <= line["eval_verdicts/AC"] <= 1 for line in held_out)
    figures = json.loads((folder / "stage.json").read_text())
    assert figures["prompts_without_lesson"] > 0
