"""GRPO with rollouts of a real vLLM engine in the training process, on a CPU."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest
import torch
import yaml

from reward.test_table import TestTable
from tests.xcoder_train.training import colocated_on_cpu
from xcoder_core.errors import EnvironmentLacks
from xcoder_core.models.folder import shape_at
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.grpo.memory import engine_memory
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.grpo.vllm_rollouts import check_vllm
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.private_names import VLLM_NAMES, missing

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
PROJECT = Path(__file__).parents[3]
# vLLM's kernels take no narrower heads than 32.
MODEL = {"hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 2, "kv_heads": 1, "vocabulary": 400}
LOG_PROBABILITY, RATIO = 2e-5, 5e-5
"""How far float32 in two engines may lie apart: a token's log-probability, and a rollout's importance ratio from 1."""

Weights = Callable[[Path], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def learn(synthesis: Path, recipe_values: Callable[..., Any]) -> Callable[..., None]:
    """Leaves an SFT result in a folder, of a model with heads as vLLM wants them."""

    def train(folder: Path, steps: int, rate: float, **data: int) -> None:
        from xcoder_train.runs.stage import perform

        values = recipe_values(
            "sft",
            model={"init": {**MODEL, "context": 512}},
            data=data,
            optimizer={"name": "muon", "learning_rate_rest": rate},
            training={"max_steps": steps, "save_strategy": "no"},
        )
        folder.mkdir(exist_ok=True)
        recipe = Recipe.model_validate(values)
        perform(recipe, StageContext("tiny", "sft", "sftkey", folder, recipe.seed, {"synth": synthesis}))

    return train


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, learn: Callable[..., None]) -> Path:
    """One that is unsure: the larger its logits, the farther apart two sums of the same float32 numbers."""
    folder = tmp_path_factory.mktemp("start")
    learn(folder, steps=80, rate=3e-3)
    return folder


@pytest.fixture(scope="module")
def command(synthesis: Path, recipe_values: Callable[..., Any]) -> Callable[..., list[str]]:
    """Writes the recipe of a GRPO stage into a folder and gives the command that runs it there."""

    def write(folder: Path, start: Path, **changed: Any) -> list[str]:
        training = {"learning_rate": 3e-3, "max_steps": 6, **changed.pop("training", {})}
        changed = {"prompts_per_step": 4, "micro_batch": 8, **changed}
        values = recipe_values("grpo", generation="vllm_colocate", training=training, **changed)
        inputs = {"synth": str(synthesis), "sft": str(start)}
        values |= {"runs_dir": str(folder / "runs"), "inputs": inputs, "judge": {"workers": 2}}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
        return [sys.executable, "-m", colocated_on_cpu.__name__, str(folder / "recipe.yaml")]

    return write


def _environment(**further: str) -> dict[str, str]:
    told = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **told, **further}


def _stage_folder(folder: Path) -> Path:
    (found,) = (folder / "runs" / "tiny" / "grpo").iterdir()
    return found


def _run(command: list[str], folder: Path, **environment: str) -> Path:
    told = _environment(**environment)
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return _stage_folder(folder)


def _steps(stage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]


def _engine_agrees_with_the_policy(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        assert 0 < line["sampling/sampling_logp_difference/max"] < LOG_PROBABILITY, line
        for which in ("min", "mean", "max"):
            assert abs(line[f"sampling/importance_sampling_ratio/{which}"] - 1) < RATIO, line


def _moved(stage: Path, start: Path, weights: Weights) -> float:
    """How far the weight that moved most has moved."""
    before, after = weights(start / "model"), weights(stage / "model")
    return max((after[name].float() - before[name].float()).abs().max().item() for name in before)


@pytest.mark.slow
def test_log_probabilities_of_the_engine_are_the_policys_while_its_weights_move(
    command: Callable[..., list[str]], start: Path, tmp_path: Path, weights: Weights
) -> None:
    trained = _run(command(tmp_path, start), tmp_path)
    lines = _steps(trained)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    _engine_agrees_with_the_policy(lines)
    assert _moved(trained, start, weights) > 100 * LOG_PROBABILITY


@pytest.mark.slow
def test_the_engine_cuts_rollouts_off_at_their_steps_limit_and_shows_its_cache_and_times(
    command: Callable[..., list[str]], start: Path, tmp_path: Path
) -> None:
    """Two updates share a set, so the weights go to the engine, and the limit changes, every other step."""
    changed = {
        "lengths": [[0, 30], [2, 60]],
        "prompts_per_step": 2,
        "updates_per_rollouts": 2,
        "temperature": 2.0,  # almost every rollout reaches its limit
        "evaluation": {"every_steps": 4, "tasks": 2, "samples": 2},
        "training": {"max_steps": 4},
    }
    lines = _steps(_run(command(tmp_path, start, **changed), tmp_path))
    made = [line for line in lines if "reward" in line]
    assert [(line["step"], line["completions/max_length"]) for line in made] == [(1, 30), (3, 60)]
    assert {line["eval_completions/max_length"] for line in lines if "eval_reward" in line} == {100}
    for line in made:
        assert 0 < line["vllm/cache_use_most"] < 1 and line["vllm/waiting_most"] >= 0
        assert line["timing/old_logprobs_runtime"] > 0
        new = line["timing/sampling_tokens_per_second"] * line["timing/sampling_runtime"]
        assert new == pytest.approx(line["completions/mean_length"] * 2 * 2 * 4, rel=1e-3)
    syncs = [line["timing/weight_sync_runtime"] for line in made]
    assert syncs[0] == 0 < syncs[1]  # the first weights went to the engine for the evaluation before the first step
    _engine_agrees_with_the_policy(made)
    later = [line for line in lines if line["step"] in (2, 4) and "loss" in line]
    assert len(later) == 2 and not any("vllm/cache_use_most" in line for line in later)


@pytest.mark.slow
def test_every_stored_reward_of_a_colocated_rollout_is_that_of_its_program_run_alone(
    command: Callable[..., list[str]], learn: Callable[..., None], synthesis: Path, tmp_path: Path
) -> None:
    """Of a model that knows two answers by heart, so that there are programs; what is garbled is left out."""
    learn(tmp_path / "sure", steps=150, rate=1e-2, tasks=2, solutions_per_task=1)
    trained = _run(command(tmp_path, tmp_path / "sure", training={"max_steps": 3}), tmp_path)
    tables = sorted((trained / "checkpoints" / "completions").glob("*.parquet"))
    rows = [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]
    assert len(rows) == 3 * 4 * 4
    problems = pyarrow.parquet.read_table(synthesis / "problems.parquet").to_pylist()
    statements = {problem["problem_id"]: problem["statement"] for problem in problems}
    tests = TestTable(SynthLayout(synthesis), tmp_path / "tests.arrow", at_most=2, seed=5)
    programs = 0
    for row in rows:
        assert statements[row["problem_id"]] in row["prompt"][0]["content"]
        text = row["completion"][0]["content"]
        block = re.fullmatch(r"```python\n((?:(?!```).)*)\n```\s*", text, re.DOTALL)
        if block is not None or "`" not in text:
            is_blank = block is None or not block[1].strip()
            expected = -2.0 if is_blank else _reward(block[1], tests[row["problem_id"]])
            assert row["judged"] in (expected, expected - 1.0), row  # 1 less for a rollout that was cut off
            programs += expected >= 0
    assert programs > 0


def _reward(program: str, tests: Any) -> float:
    """The paper's: 5 times the share of tests that pass, and -2 for what is no program."""
    try:
        ast.parse(program)
    except SyntaxError:
        return -2.0
    passed = 0
    for given, expected in zip(tests.inputs, tests.expected, strict=True):
        alone = [sys.executable, "-I", "-c", program]
        done = subprocess.run(alone, input=given, capture_output=True, text=True, timeout=60, check=False)
        passed += done.returncode == 0 and done.stdout.split() == expected.split()
    return 5.0 * passed / len(tests.inputs)


@pytest.mark.slow
def test_the_engine_samples_from_the_weights_below_and_the_adapters_together(
    command: Callable[..., list[str]], start: Path, tmp_path: Path, weights: Weights
) -> None:
    lora = {"rank": 4, "alpha": 8}
    stage = _run(command(tmp_path, start, lora=lora, training={"learning_rate": 3e-2, "max_steps": 3}), tmp_path)
    _engine_agrees_with_the_policy(_steps(stage))
    assert _moved(stage, start, weights) > 100 * LOG_PROBABILITY
    assert json.loads((stage / "stage.json").read_text())["rollouts_by"]["lora_layers"]


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_goes_on_with_an_engine_that_has_the_checkpoints_weights(
    command: Callable[..., list[str]], start: Path, tmp_path: Path
) -> None:
    asked = command(tmp_path, start, training={"max_steps": 12})
    with open(tmp_path / "log", "w") as log:
        running = psutil.Popen(asked, env=_environment(), stdout=log, stderr=log)
    written = "runs/tiny/grpo/*/checkpoints/checkpoint-4/trainer_state.json"
    while running.poll() is None and not list(tmp_path.glob(written)):
        time.sleep(0.1)
    assert running.poll() is None, (tmp_path / "log").read_text()[-4000:]
    family = running.children(recursive=True)
    running.kill()
    _, alive = psutil.wait_procs([running, *family], timeout=120)
    assert not alive
    stage = _stage_folder(tmp_path)
    assert not (stage / "stage.json").exists()
    before = _steps(stage)[:4]
    assert _run(asked, tmp_path) == stage
    lines = _steps(stage)
    assert lines[:4] == before and [line["step"] for line in lines] == list(range(1, 13))
    _engine_agrees_with_the_policy(lines)


BLOCK, BLOCKS = 32, 30
"""A cache of 960 tokens: two rollouts of full length, or three that are half done."""


@pytest.mark.slow
def test_an_engine_takes_on_the_rollouts_that_its_cache_holds_and_preempts_fewer(
    command: Callable[..., list[str]], start: Path, tmp_path: Path
) -> None:
    small = json.dumps({"block_size": BLOCK, "num_gpu_blocks_override": BLOCKS})
    seen, made_by = {}, {}
    for name, changed in (("chosen", {}), ("all of a step", {"max_num_seqs": 16})):
        folder = tmp_path / name
        folder.mkdir()
        watched = {"COLOCATED_ENGINE": small, "COLOCATED_WATCH": str(folder / "seen.json")}
        stage = _run(command(folder, start, training={"max_steps": 2}, **changed), folder, **watched)
        seen[name] = json.loads((folder / "seen.json").read_text())
        made_by[name] = json.loads((stage / "stage.json").read_text())["rollouts_by"]
        _engine_agrees_with_the_policy(_steps(stage))
    chosen = int(BLOCK * BLOCKS / (256 + 100 / 2))
    assert made_by["chosen"]["cache_tokens"] == BLOCK * BLOCKS
    assert made_by["chosen"]["max_num_seqs"] == seen["chosen"]["together"] == chosen == 3
    assert made_by["all of a step"]["max_num_seqs"] == 16
    assert seen["all of a step"]["together"] > chosen
    assert seen["chosen"]["preempted"] < seen["all of a step"]["preempted"]


@pytest.mark.slow
def test_held_out_tasks_are_drawn_alike_by_the_engine_that_makes_the_rollouts(
    command: Callable[..., list[str]], start: Path, tmp_path: Path
) -> None:
    """From a policy that as good as stands still, and from one that moves."""
    held_out = {"evaluation": {"every_steps": 2, "tasks": 4, "samples": 2}}
    lines, folders = {}, {}
    for name, rate in (("still", 1e-12), ("moving", 3e-3)):
        (tmp_path / name).mkdir()
        asked = command(tmp_path / name, start, training={"learning_rate": rate, "max_steps": 4}, **held_out)
        folders[name] = _run(asked, tmp_path / name)
        lines[name] = _steps(folders[name])
    evaluated = {name: [line for line in lines[name] if "eval_reward" in line] for name in lines}
    assert [line["step"] for line in evaluated["still"]] == [line["step"] for line in evaluated["moving"]] == [0, 2, 4]
    drawn = ("eval_reward", "eval_verdicts/AC", "eval_completions/mean_length", "eval_completions/min_length")
    first, *others = ([line[name] for name in drawn] for line in evaluated["still"])
    assert first == others[0] == others[1] == [evaluated["moving"][0][name] for name in drawn]
    assert len({tuple(line[name] for name in drawn) for line in evaluated["moving"]}) > 1
    for line in evaluated["moving"]:
        assert 0 < line["eval_sampling/sampling_logp_difference/max"] < LOG_PROBABILITY, line
    trained = [line for line in lines["moving"] if "reward" in line]
    assert [line["step"] for line in trained] == [1, 2, 3, 4]
    _engine_agrees_with_the_policy(trained)

    figures = json.loads((folders["moving"] / "stage.json").read_text())
    assert figures["rollouts_by"]["vllm"].endswith("+cpu") and figures["rollouts_by"]["dtype"] == "float32"
    assert figures["trained_by"] == {"torch": torch.__version__, "weights": "float32", "dtype": "float32"}
    manifest = json.loads((tmp_path / "moving" / "runs" / "tiny" / "manifest.json").read_text())
    assert manifest["stages"]["grpo"]["figures"]["rollouts_by"] == figures["rollouts_by"]
    # VLLM_CPU_KVCACHE_SPACE is one GiB; here keys and values have the four bytes of float32, on a GPU they have two.
    shape = shape_at(start / "model")
    assert shape is not None
    each = 2 * engine_memory(shape, GrpoSettings(), 1).bytes_per_token
    assert figures["rollouts_by"]["cache_tokens"] * each == pytest.approx(2**30, rel=1e-3)
    assert figures["rollouts_by"]["max_num_seqs"] == 16


@pytest.mark.slow
def test_each_held_out_rollout_has_a_seed_of_its_own_whatever_is_drawn_between(start: Path, tmp_path: Path) -> None:
    """The engine alone: rollouts of a group differ, those of two evaluations are the same, training draws on."""
    script = tmp_path / "draw.py"
    script.write_text(DRAW)
    done = subprocess.run(
        [sys.executable, str(script), str(start / "model")],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, between, second, elsewhere = json.loads(done.stdout.splitlines()[-1])
    assert first == second and first != elsewhere
    assert len({tuple(tokens) for tokens in first[:4]}) == 4  # the same prompt four times
    assert len({tuple(tokens) for tokens in between}) == len(between) and not any(each in first for each in between)


DRAW = """
import json, sys
from vllm import LLM, SamplingParams
from xcoder_train.grpo.colocated import SeededHeldOut

if __name__ == "__main__":
    llm = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=256, seed=0)
    evaluating = True
    here, there = (SeededHeldOut(llm, lambda: evaluating, (5, "held out", place)) for place in (0, 1))
    prompts = [{"prompt_token_ids": ids} for ids in [[7, 8, 9]] * 4 + [[9, 8]] * 2]
    sampling = SamplingParams(temperature=1.0, max_tokens=24, logprobs=0, ignore_eos=True)

    def drawn(engine):
        outputs = engine.generate(prompts, sampling_params=sampling, use_tqdm=False)
        return [list(one.token_ids) for output in outputs for one in output.outputs]

    first = drawn(here)
    evaluating = False
    between = drawn(here)
    evaluating = True
    print(json.dumps([first, between, drawn(here), drawn(there)]))
"""


def test_a_build_for_cpus_that_drops_its_weights_is_refused_before_anything_loads() -> None:
    """As it is installed: with oneDNN nothing can be loaded into its layers, see `colocated_on_cpu`."""
    from vllm import _custom_ops

    if not _custom_ops._supports_onednn:
        pytest.skip("this build has no oneDNN")
    assert list(missing(VLLM_NAMES)) == []
    with pytest.raises(EnvironmentLacks, match="needs a GPU, and there is none"):
        check_vllm(GrpoSettings(generation="vllm_colocate"), has_gpu=False, model="m")
