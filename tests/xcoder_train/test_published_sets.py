"""From a recipe with `synth.import` to what SFT and GRPO train on."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from reward.test_table import TestTable
from xcoder_core.errors import InputError
from xcoder_core.models.loading import train_tokenizer
from xcoder_core.settings import require
from xcoder_core.stage import SynthLayout
from xcoder_train.commands.trace import trace_found as trace
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.runs.keys import stage_folder, stage_key
from xcoder_train.runs.stage import main
from xcoder_train.sft.data import corpus, read_rows, read_tokens, select_rows, tokenize
from xcoder_train.trace.find import find

RECIPE = """
name: published
runs_dir: {folder}/runs
model: {{init: {{context: 512}}}}
synth:
  import:
    - {{source: x-coder-sft-376k, path: {folder}/hybrid_376k.parquet}}
    - {{source: x-coder-rl-40k, path: {folder}/syn_rl_data.parquet}}
sft: {{max_length: 512, batch: 2}}
grpo: {{max_prompt_length: 200, max_completion_length: 200, prompts_per_step: 4, rollouts: 4}}
"""
TASKS = ("add the two numbers of the line", "multiply three numbers that stand on lines of their own")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    answers = [
        {"query": task, "response": f"<think>So {n}.</think>\n```python\nprint({n})\n```"}
        for task in TASKS
        for n in range(3)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(answers), tmp_path / "hybrid_376k.parquet")
    row = {
        "id": "1",
        "prompt": [{"role": "user", "content": "Sort the words of the only line and print them in that order."}],
        "prompter_type": "codeforces",
        "type": "stdin_stdout",
        "input_output": json.dumps({"inputs": ["b a\n"], "outputs": ["a b\n"]}),
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "syn_rl_data.parquet")
    path = tmp_path / "published.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def test_training_reads_an_import_as_it_reads_a_synthesis(recipe: Path, tmp_path: Path) -> None:
    assert main(["synth", str(recipe)]) == 0
    loaded = load_recipe(recipe, [])
    layout = SynthLayout(stage_folder(loaded, "synth"))
    settings = require(loaded.sft)

    rows = read_rows(layout, verified=True, prompt_style="plain")
    assert len(rows) == 6
    view = select_rows(rows, settings.data.model_copy(update={"tasks": 1, "solutions_per_task": 2}), seed=0)
    assert len(view) == 2
    tokenizer = train_tokenizer(corpus(rows), 300)
    tokenize(rows, tokenizer, tmp_path, max_length=512, truncation_limit=0.0, packing=False, seed=0)
    dataset, statistics = read_tokens(tmp_path)
    assert (statistics.examples, len(dataset)) == (6, 6)
    supervised = [
        token for token, label in zip(dataset[0]["input_ids"], dataset[0]["labels"], strict=True) if label >= 0
    ]
    assert tokenizer.decode(supervised).startswith("<think>So ")

    raw = read_rows(layout, verified=False, prompt_style="plain")
    assert len(raw) == 6

    (prompt,) = pyarrow.parquet.read_table(layout.dataset("rl") / "train.parquet").to_pylist()
    tests = TestTable(layout, tmp_path / "tests.arrow", at_most=None, seed=0)[prompt["problem_id"]]
    assert (tests.inputs, tests.expected) == (("b a\n",), ("a b\n",))


def test_a_recipe_without_the_set_that_a_stage_needs_is_refused(recipe: Path) -> None:
    only_rl = ["synth.import=[{source: x-coder-rl-40k}]"]
    with pytest.raises(InputError, match="`sft` needs an import of source x-coder-sft-376k"):
        load_recipe(recipe, only_rl)
    with pytest.raises(InputError, match="`heldout` needs a split"):
        load_recipe(recipe, ["evaluation={models: [sft], benchmarks: [heldout], samples: 1, k: [1]}"])


def test_mistakes_in_an_import_are_told_with_their_place(recipe: Path) -> None:
    with pytest.raises(InputError, match=r"synth\.import.*x-coder-sft-376k") as error:
        load_recipe(recipe, ["synth.import=[{source: x-coder-sft, path: nowhere}]"])
    assert "did you mean `x-coder-sft-376k`?" in str(error.value)
    with pytest.raises(InputError, match="there is no file or folder nowhere, and it is no id"):
        load_recipe(recipe, ["synth.import=[{source: x-coder-sft-376k, path: nowhere}, {source: x-coder-rl-40k}]"])
    with pytest.raises(InputError, match=r"no such key; did you mean `import`\?"):
        load_recipe(recipe, ["synth.imports=[]"])
    with pytest.raises(InputError, match="there is no file missing.jsonl"):
        load_recipe(recipe, ["synth.cleaning.decontaminate=[missing.jsonl]"])


def test_what_is_imported_and_compared_shapes_the_result(recipe: Path, tmp_path: Path) -> None:
    before = stage_key(load_recipe(recipe, []), "synth")
    held = tmp_path / "held.jsonl"
    held.write_text('{"problem": "one"}\n')
    override = [f"synth.cleaning.decontaminate=[{held}]"]
    compared = stage_key(load_recipe(recipe, override), "synth")
    held.write_text('{"problem": "two"}\n')
    changed = stage_key(load_recipe(recipe, override), "synth")
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"query": "a", "response": "b"}]), tmp_path / "hybrid_376k.parquet"
    )
    assert len({before, compared, changed, stage_key(load_recipe(recipe, []), "synth")}) == 4


def test_the_plan_names_what_is_imported(recipe: Path) -> None:
    shown = make_plan(recipe, []).text
    assert "x-coder-sft-376k-hybrid_376k: all rows of" in " ".join(shown.split())


def test_a_trace_leads_from_an_imported_row_to_the_dataset(recipe: Path, tmp_path: Path) -> None:
    rows = pyarrow.parquet.read_table(tmp_path / "hybrid_376k.parquet").to_pylist()
    rows.append({"query": "a task without a program", "response": "I do not know."})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "hybrid_376k.parquet")
    assert main(["synth", str(recipe)]) == 0
    run = tmp_path / "runs" / "published"
    told = trace(find("000-x-coder-sft-376k-hybrid_376k-00000003", run, []))
    assert told.values["synthesis"]["task"]["statement"] == TASKS[1]
    assert {one["sft_row"] for one in told.values["synthesis"]["solutions"]} == {
        row["row"] for row in told.values["synthesis"]["datasets"]["sft"]
    }
    assert "imported as x-coder-sft-376k" in " ".join(told.text.split())
    lost = trace(find("000-x-coder-sft-376k-hybrid_376k-00000006", run, []))
    assert lost.values["problem_id"] is None and "\nscores" not in lost.text
    assert "dropped at tasks: no code block after the reasoning" in " ".join(lost.text.split())
    (prompt,) = pyarrow.parquet.read_table(next(run.glob("synth/*/datasets/rl/train.parquet"))).to_pylist()
    assert trace(find(prompt["problem_id"][:8], run, [])).values["synthesis"]["datasets"]["rl"] == [0]
