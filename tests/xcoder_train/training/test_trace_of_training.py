"""`xcoder trace` over real results of SFT and GRPO: which rows were trained on, and which steps met a prompt."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from xcoder_core.files import write_json, write_text
from xcoder_core.records import read_records, write_records
from xcoder_core.stage import Membership, SynthLayout
from xcoder_train.commands.trace import trace_found as trace
from xcoder_train.grpo.pass_rates import PASS_RATES, PassRate
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import RunFolder
from xcoder_train.sft.data import read_pool, select_rows
from xcoder_train.trace.find import find


@pytest.fixture
def run(
    tmp_path: Path, synthesis: Path, by_heart: Path, finished_grpo: Path, recipe_values: Callable[..., Any]
) -> Path:
    """A run whose manifest names results that lie elsewhere, as `inputs:` makes it."""
    recipe = Recipe.model_validate(
        {
            **recipe_values("sft", data={"tasks": 2, "solutions_per_task": 1}),
            "runs_dir": tmp_path,
            "synth": {"splits": {"solved": {"use": "sft", "tasks": 14}}},
        }
    )
    made = RunFolder(recipe)
    write_text(tmp_path / "given.yaml", "name: tiny\n")
    made.write_recipe(tmp_path / "given.yaml", [])
    inputs = {"synth": synthesis}
    for stage, key, folder in (("sft", "sftkey", by_heart), ("grpo", "stagekey", finished_grpo)):
        made.begin_stage(stage, key, folder, inputs)
        made.end_stage(stage, 1.0, 0, folder)
        inputs = {**inputs, "sft": by_heart}
    return recipe.run_folder


def ids(synthesis: Path, use: str) -> list[str]:
    rows = read_records(SynthLayout(synthesis).memberships, Membership)
    return [row.problem_id for row in rows if row.use == use]


def test_the_solutions_that_sft_chose_are_named(run: Path, synthesis: Path, recipe_values: Callable[..., Any]) -> None:
    view = Recipe.model_validate(recipe_values("sft", data={"tasks": 2, "solutions_per_task": 1})).sft
    assert view is not None
    rows = select_rows(read_pool(SynthLayout(synthesis), view.data, "plain"), view.data, seed=5)
    chosen = {(row["problem_id"], row["solution_index"]) for row in rows}
    assert len(chosen) == 2
    told = {name: trace(find(name, run, [])).values["sft"]["solutions"] for name in ids(synthesis, "sft")}
    assert {(name, index) for name, indices in told.items() for index in indices} == chosen


def test_a_result_is_told_by_its_own_choice_of_rows_whatever_the_recipe_says_by_now(
    run: Path, synthesis: Path, recipe_values: Callable[..., Any], tmp_path: Path
) -> None:
    before = {name: trace(find(name, run, [])).values["sft"]["solutions"] for name in ids(synthesis, "sft")}
    # As many rows as the result has, and others: a count would not tell them apart.
    data = {"tasks": 2, "solutions_per_task": 1, "minimum_solutions": 3}
    recipe = Recipe.model_validate({**recipe_values("sft", data=data, seed=6), "runs_dir": tmp_path})
    RunFolder(recipe).write_recipe(tmp_path / "given.yaml", [])
    assert {name: trace(find(name, run, [])).values["sft"]["solutions"] for name in ids(synthesis, "sft")} == before


def test_what_a_result_does_not_tell_is_not_guessed_at(run: Path, synthesis: Path, by_heart: Path) -> None:
    figures = json.loads((by_heart / "stage.json").read_text())
    older = run.parent / "older"
    for part, said in (
        ({"view": None, "data": synthesis.name}, "it was made before results kept which rows they had"),
        ({"data": "fedcba987654"}, "it was trained on another synthesis, fedcba987654"),
    ):
        write_json(older / "stage.json", {k: v for k, v in {**figures, **part}.items() if v is not None})
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["stages"]["sft"]["folder"] = str(older)
        write_json(run / "manifest.json", manifest)
        told = trace(find(ids(synthesis, "sft")[0], run, []))
        assert told.values["sft"]["solutions"] is None
        assert f"not known: {said}" in " ".join(told.text.split())


def test_every_rollout_of_the_stored_steps_is_told_at_its_problem(
    run: Path, synthesis: Path, finished_grpo: Path
) -> None:
    tables = sorted(finished_grpo.glob("checkpoints/completions/*.parquet"))
    stored = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    prompts = {
        row["prompt"][-1]["content"]: row["problem_id"]
        for row in pyarrow.parquet.read_table(SynthLayout(synthesis).dataset("rl") / "train.parquet").to_pylist()
    }
    expected: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in stored:
        expected.setdefault((prompts[row["prompt"][-1]["content"]], row["step"]), []).append(row)
    told: dict[tuple[str, int], dict[str, Any]] = {}
    for name in ids(synthesis, "rl"):
        for step in trace(find(name, run, [])).values["grpo"]["met"]:
            told[name, step["step"]] = step
    assert told.keys() == expected.keys() and len(tables) == 4
    for key, rows in expected.items():
        assert told[key]["rollouts"] == len(rows)
        assert told[key]["mean_reward"] == pytest.approx(sum(row["judged"] for row in rows) / len(rows))
    assert all(row["problem_id"] == prompts[row["prompt"][-1]["content"]] for row in stored)
    (name, step), _ = next(iter(told.items()))
    assert f"step {step}" in trace(find(name, run, [])).text


def test_the_pass_rate_that_the_run_has_measured_is_told(run: Path, synthesis: Path, tmp_path: Path) -> None:
    name = ids(synthesis, "rl")[0]
    assert trace(find(name, run, [])).values["grpo"]["pass_rate"] is None
    folder = tmp_path / "rates"
    write_records(folder / PASS_RATES, PassRate, [PassRate(name, 0.75, 8, 6, 1)], ("problem_id",))
    write_json(folder / "stage.json", {"stage": "rates", "key": "ratekey"})
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["rates"] = {"key": "ratekey", "folder": str(folder), "inputs": {}}
    write_json(run / "manifest.json", manifest)
    told = trace(find(name, run, []))
    assert told.values["grpo"]["pass_rate"] == {"samples": 8, "solved": 6}
    assert "solved it in 6 of 8 samples" in told.text
