"""The loss on held-out solutions while SFT trains: what it is, and that the training does not notice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluation.report.stages import sft_figures
from xcoder_core.errors import InputError
from xcoder_core.models.prompt import render_prompts
from xcoder_core.problem import Solution
from xcoder_core.records import read_records
from xcoder_core.stage import Membership, SynthLayout
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key
from xcoder_train.runs.stage import perform

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
EVALUATION = {"every_steps": 2, "tasks": 3}
ADAPTERS = {"lora": {"rank": 4, "alpha": 8, "dropout": 0.3}}  # dropout draws random numbers in every step


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _losses(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(line["step"], line[name]) for line in _lines(folder) if name in line]


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _loss_by_hand(folder: Path, model_folder: Path, synthesis: Path) -> float:
    """Of every supervised token of all held-out golden solutions, from texts to transformers' logits."""
    layout = SynthLayout(synthesis)
    held_out = {one.problem_id for one in read_records(layout.memberships, Membership) if one.use == "evaluation"}
    prompts = render_prompts(layout, held_out, "plain")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder / "model"),
        AutoModelForCausalLM.from_pretrained(model_folder),
    )
    total, count = 0.0, 0
    for solution in read_records(layout.solutions, Solution):
        if solution.is_golden and solution.problem_id in held_out:
            asked = prompts[solution.problem_id]
            options = {"tokenize": True, "return_dict": False}
            prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, **options)
            said = [*asked, {"role": "assistant", "content": solution.response}]
            whole = tokenizer.apply_chat_template(said, **options)
            whole = whole[: len(whole) - whole[::-1].index(tokenizer.eos_token_id)]
            with torch.no_grad():
                logits = model(torch.tensor([whole])).logits[0, len(prompt) - 1 : -1]
            total += float(cross_entropy(logits, torch.tensor(whole[len(prompt) :]), reduction="sum"))
            count += len(whole) - len(prompt)
    return total / count


@pytest.mark.parametrize("packing", [False, True])
def test_the_held_out_loss_is_that_of_every_supervised_token_of_the_golden_solutions(
    packing: bool, tmp_path: Path, stage: Stage, synthesis: Path
) -> None:
    every = {"every_steps": 4, "tasks": 99}
    recipe, context = stage("sft", tmp_path, packing=packing, evaluation=every, training={"save_strategy": "no"})
    perform(recipe, context)
    losses = _losses(tmp_path, "eval_loss")
    assert [step for step, _ in losses] == [0, 4, 6]
    assert losses[0][1] == pytest.approx(_loss_by_hand(tmp_path, tmp_path / "base", synthesis), rel=1e-4)
    assert losses[-1][1] == pytest.approx(_loss_by_hand(tmp_path, tmp_path / "model", synthesis), rel=1e-4)
    (figure,) = sft_figures(tmp_path)
    assert "held-out" in figure.svg


@pytest.mark.parametrize("changed", [{}, {"packing": True}, ADAPTERS], ids=["whole", "packed", "dropout"])
def test_a_held_out_loss_changes_no_bit_of_the_training(
    changed: dict[str, Any], tmp_path: Path, stage: Stage, weights: Weights, by_heart: Path
) -> None:
    given = {**changed, **({"model": {"path": str(by_heart / "model")}} if "lora" in changed else {})}
    for name, evaluation in (("off", None), ("on", EVALUATION)):
        recipe, context = stage("sft", tmp_path / name, evaluation=evaluation, **given)
        perform(recipe, context)
    assert _losses(tmp_path / "on", "loss") == _losses(tmp_path / "off", "loss")
    assert _same(weights(tmp_path / "on" / "model"), weights(tmp_path / "off" / "model"))
    assert len(_losses(tmp_path / "on", "eval_loss")) == 4 and not _losses(tmp_path / "off", "eval_loss")


def test_a_killed_stage_goes_on_with_the_held_out_losses_of_one_that_was_not(
    tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    whole = tmp_path / "whole"
    perform(*stage("sft", whole, evaluation=EVALUATION))
    first, second = tmp_path / "before the first checkpoint", tmp_path / "after it"
    ignored = ["model", "stage.json"]
    shutil.copytree(whole, first, ignore=shutil.ignore_patterns(*ignored, "checkpoints"))
    shutil.copytree(whole, second, ignore=shutil.ignore_patterns(*ignored, "checkpoint-6"))
    for folder in (first, second):
        perform(*stage("sft", folder, evaluation=EVALUATION))
        assert _losses(folder, "eval_loss") == _losses(whole, "eval_loss")
        assert _losses(folder, "loss") == _losses(whole, "loss")
        assert _same(weights(folder / "model"), weights(whole / "model"))


def test_a_stage_begun_without_a_held_out_loss_goes_on_with_one(tmp_path: Path, stage: Stage, weights: Weights) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    perform(*stage("sft", whole))
    shutil.copytree(whole, killed, ignore=shutil.ignore_patterns("model", "stage.json", "checkpoint-6"))
    perform(*stage("sft", killed, evaluation=EVALUATION))
    assert [step for step, _ in _losses(killed, "eval_loss")] == [4, 6]
    assert _same(weights(killed / "model"), weights(whole / "model"))


def test_a_held_out_loss_leaves_the_key_of_the_stage(tmp_path: Path, stage: Stage, synthesis: Path) -> None:
    keys = set()
    for evaluation in (None, EVALUATION, {}):
        recipe, _ = stage("sft", tmp_path, evaluation=evaluation)
        with_input = {**recipe.model_dump(mode="json"), "inputs": {"synth": str(synthesis)}}
        keys.add(stage_key(Recipe.model_validate(with_input), "sft"))
    assert len(keys) == 1


def test_solutions_that_do_not_fit_are_told_before_training(tmp_path: Path, stage: Stage, by_heart: Path) -> None:
    from xcoder_train.sft.data import held_out_tokens, read_held_out

    _, context = stage("sft", tmp_path)
    rows = read_held_out(SynthLayout(context.inputs["synth"]), "plain", 0)
    tokenizer = AutoTokenizer.from_pretrained(by_heart / "model")
    with pytest.raises(InputError, match=r"all 4 held-out solutions are longer than sft.max_length = 9 tokens"):
        held_out_tokens(rows, tokenizer, max_length=9, tasks=4)


@pytest.mark.slow
def test_two_processes_log_the_held_out_loss_of_one(
    tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any]
) -> None:
    found = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        values = recipe_values(
            "sft",
            evaluation=EVALUATION,  # three tasks, so that the second process is given one twice
            launch={"processes": processes},
            training={"optim": "sgd", "max_grad_norm": 0.0, "save_strategy": "no"},
        )
        values |= {"runs_dir": str(folder / "runs"), "inputs": {"synth": str(synthesis)}}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
        done = subprocess.run(
            [sys.executable, "-m", "xcoder_train.cli", "sft", str(folder / "recipe.yaml")],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (result,) = (path for path in folder.glob("runs/tiny/sft/*") if path.is_dir())
        found[processes] = _losses(result, "eval_loss")
    assert [step for step, _ in found[1]] == [step for step, _ in found[2]] == [0, 2, 4, 6]
    assert [loss for _, loss in found[2]] == pytest.approx([loss for _, loss in found[1]], abs=1e-4)
