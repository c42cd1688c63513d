"""Pass rates by a real model and judge, what they keep, and held-out tasks that are measured on the way."""

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from datasets import Dataset
from openai_server import OpenAIServer
from transformers import AutoTokenizer

from evaluation.judging import SampleVerdict
from evaluation.samples import KEY, Sample
from reward.config import JudgeSettings
from reward.extract import extract_code
from reward.judge import Judge
from reward.test_table import TestTable
from reward.trl import submission_for
from reward.verdict import Verdict
from synth.publication import RlRow, SftRow
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.problem import Solution
from xcoder_core.records import RecordStore, read_records, read_table, write_records
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.grpo.arguments import evaluation_batch
from xcoder_train.grpo.pass_rates import PASS_RATES, PassRate, known_rates, measured_rates, read_given
from xcoder_train.grpo.prompts import curriculum, held_out_prompts
from xcoder_train.grpo.settings import CurriculumSettings, GrpoSettings
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key
from xcoder_train.runs.stage import perform
from xcoder_train.runs.work import make_report

SAMPLES = 4


def _rows(synthesis: Path) -> list[dict[str, Any]]:
    return read_table(SynthLayout(synthesis).dataset("rl") / "train.parquet").to_pylist()


@pytest.fixture(scope="session")
def easy_prompts(tmp_path_factory: pytest.TempPathFactory, synthesis: Path) -> Path:
    """The synthesis with prompts for GRPO of which the model knows some: it was trained on them."""
    folder = tmp_path_factory.mktemp("easy") / "synth"
    shutil.copytree(synthesis, folder)
    rows = {
        row.problem_id: row for row in read_records(SynthLayout(synthesis).dataset("sft") / "train.parquet", SftRow)
    }
    known = [RlRow(name, row.style, row.depth, row.prompt, 1.0, "easy", True) for name, row in rows.items()]
    own = list(read_records(SynthLayout(synthesis).dataset("rl") / "train.parquet", RlRow))
    write_records(SynthLayout(folder).dataset("rl") / "train.parquet", RlRow, [*own, *known], ("problem_id",))
    return folder


Measure = Callable[..., Path]


@pytest.fixture
def measure(
    monkeypatch: pytest.MonkeyPatch, easy_prompts: Path, by_heart: Path, recipe_values: Callable[..., Any]
) -> Measure:
    """Runs the stage in a folder, as every one of so many processes in turn: the first one waits for the others."""

    def stage(folder: Path, processes: int = 1, synth: Path = easy_prompts, **curriculum: Any) -> Path:
        folder.mkdir(exist_ok=True)
        values = recipe_values("grpo", max_completion_length=60, curriculum={"samples": SAMPLES, **curriculum})
        recipe = Recipe.model_validate(values)
        for rank in reversed(range(processes)):
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", str(processes))
            inputs = {"synth": synth, "sft": by_heart}
            perform(recipe, StageContext("tiny", "rates", "ratekey", folder, recipe.seed, inputs))
        return folder / PASS_RATES

    return stage


def test_pass_rates_are_those_of_rollouts_on_the_tests_of_the_reward(
    measure: Measure, easy_prompts: Path, tmp_path: Path
) -> None:
    """Every completion is judged again here, on the two tests that GRPO's reward looks at."""
    rates = {rate.problem_id: rate for rate in read_records(measure(tmp_path / "one"), PassRate)}
    assert set(rates) == {row["problem_id"] for row in _rows(easy_prompts)}
    assert len({rate.pass_rate for rate in rates.values()}) > 1 and max(rate.solved for rate in rates.values()) > 0
    tests = TestTable(SynthLayout(easy_prompts), tmp_path / "tests.arrow", at_most=2, seed=5)
    samples = list(read_records(tmp_path / "one" / "samples.parquet", Sample))
    programs = [(sample, extract_code(sample.completion)) for sample in samples]
    with Judge(JudgeSettings(), workers=2) as judge:
        asked = [
            submission_for(f"{sample.problem_id}/{sample.sample_index}", sample.problem_id, code, tests)
            for sample, code in programs
            if code is not None
        ]
        right = Counter(one.id.partition("/")[0] for one in judge.judge(asked) if one.verdict is Verdict.AC)
    assert {name: rate.solved for name, rate in rates.items()} == {name: right[name] for name in rates}
    cut_off = Counter(sample.problem_id for sample in samples if sample.finish_reason == "length")
    assert {name: rate.truncated for name, rate in rates.items()} == {name: cut_off[name] for name in rates}
    figures = json.loads((tmp_path / "one" / "stage.json").read_text())
    assert figures["prompts"] == len(rates) and figures["mean"] == pytest.approx(
        sum(rate.pass_rate for rate in rates.values()) / len(rates), abs=1e-4
    )
    assert figures["never_solved"] == sum(rate.solved == 0 for rate in rates.values())
    assert read_given(tmp_path / "one" / PASS_RATES, list(rates)) == {n: rate.pass_rate for n, rate in rates.items()}


def test_pass_rates_do_not_depend_on_how_many_processes_measure_them(measure: Measure, tmp_path: Path) -> None:
    one, two = measure(tmp_path / "one"), measure(tmp_path / "two", 2)
    assert read_table(one).equals(read_table(two))
    for table in ("samples.parquet", "verdicts.parquet"):
        assert read_table(one.with_name(table)).equals(read_table(two.with_name(table)))
    assert not list(two.parent.glob("*-of-*"))


def test_a_killed_measurement_samples_and_judges_only_what_is_missing(
    measure: Measure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is put back to what a kill leaves: first while sampling, then while judging."""
    whole = measure(tmp_path / "whole")
    samples = list(read_records(whole.with_name("samples.parquet"), Sample))
    (tmp_path / "sampling").mkdir()
    RecordStore(tmp_path / "sampling" / "samples.parquet", Sample, KEY).extend(samples[:30])
    (tmp_path / "judging").mkdir()
    shutil.copy(whole.with_name("samples.parquet"), tmp_path / "judging")
    verdicts = list(read_records(whole.with_name("verdicts.parquet"), SampleVerdict))
    RecordStore(tmp_path / "judging" / "verdicts.parquet", SampleVerdict, KEY).extend(verdicts[:30])
    for begun, said in (("sampling", "sampling: 30 of"), ("judging", "judging: 30 of")):
        capsys.readouterr()
        assert read_table(measure(tmp_path / begun)).equals(read_table(whole))
        assert f"{said} {len(samples)} " in capsys.readouterr().err


def test_a_server_can_make_the_samples(measure: Measure, easy_prompts: Path, tmp_path: Path) -> None:
    """It answers with the golden solution where its seed is even."""
    layout = SynthLayout(easy_prompts)
    golden = {one.problem_id: one.response for one in read_records(layout.solutions, Solution) if one.is_golden}
    answer_to = {row["prompt"][-1]["content"]: golden[row["problem_id"]] for row in _rows(easy_prompts)}

    def solve(messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
        return "I do not know." if parameters["seed"] % 2 else answer_to[messages[-1]["content"]]

    with OpenAIServer(solve, models=("served",)) as server:
        generation = {"backend": "openai", "openai": {"base_url": server.base_url, "model": "served", "kind": "vllm"}}
        rates = {
            rate.problem_id: rate
            for rate in read_records(measure(tmp_path / "one", **{"generation": generation}), PassRate)
        }
        body = server.calls[0].body
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 1.0, 60)
    even = Counter(
        sample.problem_id
        for sample in read_records(tmp_path / "one" / "samples.parquet", Sample)
        if sample.seed % 2 == 0
    )
    assert {name: rate.solved for name, rate in rates.items()} == {name: even[name] for name in rates}


def test_a_prompt_that_was_never_judged_has_no_pass_rate(tmp_path: Path) -> None:
    verdicts = [SampleVerdict("a", 0, "AC", 2, 2, "none"), SampleVerdict("b", 0, "IE", 0, 2, "invalid")]
    write_records(tmp_path / "verdicts.parquet", SampleVerdict, verdicts, KEY)
    with pytest.raises(InfrastructureError, match="no sample of problem b could be judged"):
        measured_rates(tmp_path / "verdicts.parquet")


def test_pass_rates_need_prompts_for_rl(measure: Measure, synthesis: Path, tmp_path: Path) -> None:
    shutil.copytree(synthesis, tmp_path / "synth", ignore=shutil.ignore_patterns("rl"))
    with pytest.raises(InputError, match="GRPO needs a synthesis with a split whose `use` is rl"):
        measure(tmp_path / "one", synth=tmp_path / "synth")


def _keys(recipe_values: Callable[..., Any], by_heart: Path, synthesis: Path, **changed: Any) -> tuple[str, str]:
    curriculum = {"samples": 4, **changed.pop("curriculum", {})}
    values = recipe_values("grpo", curriculum=curriculum, **changed)
    recipe = Recipe.model_validate({**values, "inputs": {"synth": str(synthesis), "sft": str(by_heart)}})
    return stage_key(recipe, "rates"), stage_key(recipe, "grpo")


def test_what_pass_rates_depend_on_makes_them_others_and_nothing_else_does(
    recipe_values: Callable[..., Any], by_heart: Path, synthesis: Path
) -> None:
    def keys(**changed: Any) -> tuple[str, str]:
        return _keys(recipe_values, by_heart, synthesis, **changed)

    rates, grpo = keys()
    served = {"backend": "openai", "openai": {"base_url": "http://host/v1"}}
    for other in (
        {"curriculum": {"samples": 5}},
        {"curriculum": {"generation": served}},
        {"temperature": 0.9},
        {"max_completion_length": 99},
        {"reward": {"tests": 3}},
    ):
        assert keys(**other)[0] != rates and keys(**other)[1] != grpo
    for same in ({"curriculum": {"launch": {"processes": 2}}}, {"curriculum": {"generation": {"batch_size": 3}}}):
        assert keys(**same) == (rates, grpo)
    for elsewhere in ({"training": {"learning_rate": 1.0}}, {"rollouts": 6}, {"curriculum": {"mixing": 0.0}}):
        assert keys(**elsewhere)[0] == rates and keys(**elsewhere)[1] != grpo


@pytest.fixture
def banded(tmp_path: Path, synthesis: Path) -> dict[str, Path]:
    """Inputs whose prompts lie in three bands, in the order of their ids."""
    folder = tmp_path / "banded"
    shutil.copytree(synthesis, folder)
    path = SynthLayout(folder).dataset("rl") / "train.parquet"
    rows = list(read_records(path, RlRow))
    bands = ["part_0001", "rl_tasks_easy", "part_0000"]
    write_records(path, RlRow, [replace(r, difficulty=bands[n % 3]) for n, r in enumerate(rows)], ("problem_id",))
    return {"synth": folder}


def test_bands_choose_and_order_prompts(banded: dict[str, Path]) -> None:
    rows = _rows(banded["synth"])
    band_of = {row["problem_id"]: row["difficulty"] for row in rows}
    prompts = Dataset.from_list(rows)
    settings = CurriculumSettings(bands=("rl_tasks_easy", "part_0001"), mixing=0)
    rates = known_rates(settings, list(band_of), banded)
    chosen, order = curriculum(prompts, rates, settings, seed=0)
    met = [band_of[chosen["problem_id"][place]] for place in order.of_epoch(0)]
    wanted = [name for name in band_of.values() if name != "part_0000"]
    assert met == sorted(wanted, reverse=True) and len(set(met)) == 2
    with pytest.raises(InputError, match="no problem of difficulty hard, only part_0000, part_0001, rl_tasks_easy"):
        known_rates(CurriculumSettings(bands=("hard",)), list(band_of), banded)


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
    rates = {name: (n % 5) / 4 for n, name in enumerate(problems)}
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


@pytest.mark.slow
def test_the_command_of_grpo_measures_what_is_missing_and_never_twice(
    by_heart: Path, easy_prompts: Path, tmp_path: Path, recipe_values: Callable[..., Any]
) -> None:
    """Also not for a GRPO that is finished, such as one of an earlier version, which measured for itself."""
    values = recipe_values("grpo", curriculum={"samples": 2, "drop_unsolved": False}, training={"max_steps": 1})
    inputs = {"synth": str(easy_prompts), "sft": str(by_heart)}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(tmp_path / "runs"), "inputs": inputs}))

    def xcoder(*arguments: str) -> str:
        command = [sys.executable, "-m", "xcoder_train.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "rates: finished before" not in xcoder("grpo", str(recipe))
    (table,) = (tmp_path / "runs" / "tiny" / "rates").glob(f"*/{PASS_RATES}")
    (figures,) = (tmp_path / "runs" / "tiny" / "grpo").glob("*/stage.json")
    kept = sum(rate.pass_rate < 1 for rate in read_records(table, PassRate))
    assert json.loads(figures.read_text())["prompts"] == kept > 0
    assert "rates: finished before" in xcoder("rates", str(recipe), "grpo.training.learning_rate=1.0")
    loaded = load_recipe(recipe)
    make_report(loaded, StageContext("tiny", "report", "key", loaded.run_folder, 0, {}))
    assert "never solved: " in (loaded.run_folder / "report.html").read_text()
    shutil.rmtree(table.parent)
    assert "starting" not in xcoder("run", str(recipe))
