"""The SFT stage on a tiny model and a real synthesis, from rows to a saved model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.xcoder_train.training.wandb_file import history
from xcoder_core.errors import EnvironmentLacks
from xcoder_core.models.chat import stop_token_ids
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.model_card import model_card
from xcoder_train.runs.stage import perform
from xcoder_train.sft import train as sft
from xcoder_train.training import weights as weights_of_training

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
PROJECT = Path(__file__).parents[3]


def _metrics(folder: Path) -> list[dict[str, Any]]:
    timed = ("runtime", "per_second", "step_time", "mfu")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


def _untimed(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in ("training_seconds", "tokens_per_second")}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, synthesis: Path, recipe_values: Callable[..., Any]) -> Path:
    """The folder of an uninterrupted stage of six steps with checkpoints at 3 and 6. Read it, never write to it."""
    from xcoder_core.stage import StageContext
    from xcoder_train.recipe.schema import Recipe

    folder = tmp_path_factory.mktemp("sft")
    recipe = Recipe.model_validate(recipe_values("sft", optimizer={"name": "muon", "learning_rate_rest": 3e-2}))
    perform(recipe, StageContext("tiny", "sft", "stagekey", folder, recipe.seed, {"synth": synthesis}))
    return folder


def test_the_loss_falls_and_every_step_is_logged_once(finished: Path) -> None:
    losses = [line["loss"] for line in _metrics(finished)]
    assert [line["step"] for line in _metrics(finished)] == [1, 2, 3, 4, 5, 6]
    assert losses[-1] < losses[0] - 1
    assert losses[0] == pytest.approx(torch.tensor(400.0).log().item(), abs=0.5)  # a random model knows nothing


def test_the_result_is_a_model_folder_that_loads_with_its_stop_tokens(finished: Path, weights: Weights) -> None:
    model = AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    assert not _same(weights(finished / "base"), weights(finished / "model"))
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(finished / "base").get_vocab()
    assert set(model.generation_config.eos_token_id) == stop_token_ids(tokenizer)
    assert model.dtype == torch.float32
    left = sorted(path.name for path in finished.iterdir())
    assert left == ["base", "checkpoints", "metrics.jsonl", "model", "stage.json"]


def test_stage_json_says_what_was_trained(finished: Path) -> None:
    figures = json.loads((finished / "stage.json").read_text())
    metrics = _metrics(finished)
    assert (figures["stage"], figures["key"], figures["steps"]) == ("sft", "stagekey", 6)
    assert figures["examples_per_step"] == 8
    assert 0 < figures["supervised_tokens"] < figures["tokens"]
    assert figures["final_loss"] == metrics[-1]["loss"]
    model = AutoModelForCausalLM.from_pretrained(finished / "model")
    assert figures["parameters"] == model.num_parameters()
    tokens = [line["num_tokens"] for line in metrics]
    rates = [json.loads(line)["tokens_per_second"] for line in (finished / "metrics.jsonl").read_text().splitlines()]
    seconds = [(after - before) / rate for before, after, rate in zip([0, *tokens], tokens, rates, strict=False)]
    assert figures["tokens_per_second"] == pytest.approx(tokens[-1] / sum(seconds), rel=1e-6)


def test_the_model_card_names_the_data_the_recipe_and_the_figures(finished: Path, synthesis: Path) -> None:
    card = (finished / "model" / "README.md").read_text()
    figures = json.loads((finished / "stage.json").read_text())
    assert f"| final loss | {figures['final_loss']:,.4g} |" in card
    assert figures["fingerprint"] in card and synthesis.name in card
    assert "learning_rate_rest: 0.03" in card and "Not measured in this run." in card


def test_mfu_is_the_rate_by_the_models_operations_over_the_stated_peak(tmp_path: Path, stage: Stage) -> None:
    from xcoder_core.models.folder import model_shape
    from xcoder_train.sft.data import read_tokens
    from xcoder_train.sft.train import prepare
    from xcoder_train.training.arithmetic import training_flops_per_token

    hardware = {"launch": {"hardware": {"peak_tflops": 0.5}}}
    recipe, context = stage("sft", tmp_path, training={"max_steps": 1, "save_strategy": "no"}, **hardware)
    prepare(recipe.sft, recipe.model, context, tmp_path / "kept")
    perform(recipe, context)
    figures = json.loads((tmp_path / "stage.json").read_text())
    shape = model_shape(recipe.model)
    assert shape is not None
    cost = training_flops_per_token(shape, read_tokens(tmp_path / "kept")[1].mean_attended)
    assert figures["mfu"] == pytest.approx(figures["tokens_per_second"] * cost / 0.5e12)


def _killed_while_writing_the_second_checkpoint(finished: Path, folder: Path) -> None:
    """What a kill at that instant leaves: no model, more metrics than the checkpoint knows, the last line torn."""
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("model", "stage.json", "trainer_state.json"))
    whole = "checkpoints/checkpoint-3/trainer_state.json"
    shutil.copy(finished / whole, folder / whole)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')


def test_a_card_names_the_base_of_grpo_after_sft_and_the_licence_that_the_base_states(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    values = {"name": "x", "model": {"path": str(tmp_path)}, "sft": {}, "grpo": {"prompts_per_step": 1}}
    split = {"use": "sft", "tasks": 1}
    recipe = Recipe.model_validate({**values, "synth": {"splits": {"train": split}}})
    card = model_card(recipe, "grpo", {"key": "k"}, {})
    assert "the result of sft" in card and f"| base model | `{tmp_path}` |" in card
    assert "\nlicense: apache-2.0\n" in card
    (tmp_path / "README.md").write_text("# A card without a word on it\n")
    assert "license" not in model_card(recipe, "grpo", {"key": "k"}, {})
    (tmp_path / "README.md").write_text("---\ntags: [a, [broken\n---\nlicense: mit\n")
    assert "license" not in model_card(recipe, "sft", {"key": "k"}, {})


def test_resumed_equals_uninterrupted_to_the_last_bit(
    finished: Path, tmp_path: Path, stage: Stage, weights: Weights, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "killed"
    _killed_while_writing_the_second_checkpoint(finished, folder)
    (folder / "checkpoints" / "seconds.json").write_text("1000.0")
    recipe, context = stage("sft", folder, optimizer={"name": "muon", "learning_rate_rest": 3e-2})
    perform(recipe, context)
    assert _same(weights(folder / "model"), weights(finished / "model"))
    assert _metrics(folder) == _metrics(finished)
    old, new = (json.loads((path / "stage.json").read_text()) for path in (finished, folder))
    assert _untimed(old) == _untimed(new)
    assert 1000 < new["training_seconds"] < 1000 + 600  # both starts'
    loaded = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert loaded.config.tie_word_embeddings and "missing keys" not in capfd.readouterr().err
    assert (folder / "checkpoints" / "checkpoint-6" / "trainer_state.json").is_file()


def test_a_stage_killed_between_its_last_step_and_its_result_trains_no_further(
    finished: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("stage.json"))
    (folder / "model" / "model.safetensors").unlink()
    recipe, context = stage("sft", folder, optimizer={"name": "muon", "learning_rate_rest": 3e-2})
    perform(recipe, context)
    assert _same(weights(folder / "model"), weights(finished / "model"))
    assert _metrics(folder) == _metrics(finished)
    old, new = (json.loads((path / "stage.json").read_text()) for path in (finished, folder))
    assert _untimed(old) == _untimed(new)


def test_without_resume_training_begins_anew(finished: Path, tmp_path: Path, stage: Stage, weights: Weights) -> None:
    folder = tmp_path / "killed"
    _killed_while_writing_the_second_checkpoint(finished, folder)
    changed = {"learning_rate": 1e-3, "max_steps": 1, "save_steps": 9}
    recipe, context = stage("sft", folder, resume=False, training=changed)
    perform(recipe, context)
    assert [line["step"] for line in _metrics(folder)] == [1]


def test_packed_documents_do_not_see_each_other(tmp_path: Path, stage: Stage, weights: Weights) -> None:
    """One step on all examples at once: the update by packed rows is the update by single ones."""
    settings = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "save_strategy": "no"}
    learned = {}
    for name, packing in (("single", False), ("packed", True)):
        recipe, context = stage(
            "sft", tmp_path / name, packing=packing, batch=999, micro_batch=999, data={"tasks": 4}, training=settings
        )
        perform(recipe, context)
        learned[name] = weights(tmp_path / name / "model")
    figures = {name: json.loads((tmp_path / name / "stage.json").read_text()) for name in learned}
    assert figures["single"]["supervised_tokens"] == figures["packed"]["supervised_tokens"]
    base = weights(tmp_path / "single" / "base")
    moved = max(float((learned["single"][name] - base[name]).abs().max()) for name in base)
    apart = max(float((learned["single"][name] - learned["packed"][name]).abs().max()) for name in base)
    assert moved > 1e-2
    assert apart < 1e-5


def test_accumulated_passes_weigh_every_supervised_token_alike(tmp_path: Path, stage: Stage, weights: Weights) -> None:
    settings = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "save_strategy": "no"}
    learned = []
    for micro_batch in (16, 2):
        folder = tmp_path / str(micro_batch)
        recipe, context = stage("sft", folder, batch=16, micro_batch=micro_batch, training=settings)
        perform(recipe, context)
        learned.append(weights(folder / "model"))
    assert max(float((learned[0][name] - learned[1][name]).abs().max()) for name in learned[0]) < 1e-5


def test_adapters_are_merged_into_a_model_with_the_logits_of_base_and_adapter(
    finished: Path, tmp_path: Path, stage: Stage, weights: Weights
) -> None:
    from peft import PeftModel

    recipe, context = stage(
        "sft",
        tmp_path,
        model={"path": str(finished / "model")},
        lora={"rank": 4, "alpha": 8},
        training={"max_steps": 3},
    )
    before = weights(finished / "model")
    perform(recipe, context)
    assert _same(weights(finished / "model"), before)  # what it started from is untouched
    assert not list(tmp_path.glob("model/adapter*"))
    base = AutoModelForCausalLM.from_pretrained(finished / "model")
    adapted = PeftModel.from_pretrained(base, tmp_path / "checkpoints" / "checkpoint-3").eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-5)
        with adapted.disable_adapter():
            assert not torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-2)
    assert set(merged.generation_config.eos_token_id) == {
        AutoTokenizer.from_pretrained(tmp_path / "model").eos_token_id
    }


@pytest.mark.slow
def test_adapters_learn_above_weights_in_4_bits(finished: Path, tmp_path: Path, stage: Stage, weights: Weights) -> None:
    pytest.importorskip("bitsandbytes")
    held: dict[str, Any] = {}
    own = sft.load_training_model

    def seen(*given: Any, **named: Any) -> Any:
        held["model"] = own(*given, **named)
        return held["model"]

    recipe, context = stage(
        "sft",
        tmp_path,
        model={"path": str(finished / "model")},
        lora={"rank": 4, "alpha": 8},
        quantize="nf4",
        training={"max_steps": 3},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "load_training_model", seen)
        perform(recipe, context)
    kinds = {type(module).__name__ for module in held["model"].modules()}
    assert "Linear4bit" in kinds
    merged, start = weights(tmp_path / "model"), weights(finished / "model")
    assert merged.keys() == start.keys() and merged["model.norm.weight"].dtype == torch.float32
    changed = {name for name in start if not torch.equal(start[name], merged[name])}
    assert changed and all(name.endswith("_proj.weight") for name in changed)


def test_4_bits_without_the_package_are_told_with_the_command_that_installs_it(
    finished: Path, tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_of_training, "find_spec", lambda name: None)
    recipe, context = stage("sft", tmp_path, model={"path": str(finished / "model")}, lora={"rank": 4}, quantize="nf4")
    with pytest.raises(EnvironmentLacks, match=r"pip install -e '.*\[qlora\]'"):
        perform(recipe, context)


def test_a_stage_that_logs_nothing_on_the_way_finishes(tmp_path: Path, stage: Stage) -> None:
    recipe, context = stage("sft", tmp_path, training={"max_steps": 2, "logging_steps": 50, "save_strategy": "no"})
    perform(recipe, context)
    assert json.loads((tmp_path / "stage.json").read_text())["steps"] == 2


def _recipe_file(folder: Path, synthesis: Path, values: dict[str, Any]) -> Path:
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": {"synth": str(synthesis)}}))
    return recipe


def _start(recipe: Path, errors: Path) -> "subprocess.Popen[bytes]":
    """The stage in a process group of its own, on a machine whose network answers nothing."""
    nowhere = "http://127.0.0.1:9"
    return subprocess.Popen(
        [sys.executable, "-m", "xcoder_train.sft", str(recipe)],
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
            "WANDB_BASE_URL": nowhere,
            "HTTPS_PROXY": nowhere,
            "HTTP_PROXY": nowhere,
        },
        stdout=subprocess.DEVNULL,
        stderr=errors.open("wb"),
        start_new_session=True,
    )


def test_a_killed_stage_goes_on_to_the_same_model_and_the_same_offline_wandb_run(
    finished: Path, tmp_path: Path, synthesis: Path, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    values = recipe_values(
        "sft",
        optimizer={"name": "muon", "learning_rate_rest": 3e-2},
        tracking={"wandb": "offline", "tags": ["tiny"]},
    )
    recipe, errors = _recipe_file(tmp_path, synthesis, values), tmp_path / "errors"
    killed = _start(recipe, errors)
    try:
        while not list(tmp_path.glob("runs/tiny/sft/*/checkpoints/checkpoint-3/trainer_state.json")):
            assert killed.poll() is None, errors.read_text()
            time.sleep(0.01)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    (folder,) = (tmp_path / "runs" / "tiny" / "sft").iterdir()
    assert not (folder / "stage.json").exists()
    run_id = (folder / "wandb_run_id").read_text()

    assert _start(recipe, errors).wait(timeout=240) == 0, errors.read_text()
    assert _same(weights(folder / "model"), weights(finished / "model"))
    assert _metrics(folder) == _metrics(finished)
    assert (folder / "wandb_run_id").read_text() == run_id
    (offline,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    assert offline.stem == f"run-{run_id.strip()}"
    logged = [line for line in history(offline) if "train/loss" in line]
    assert [line["train/global_step"] for line in logged] == [line["step"] for line in _metrics(folder)]
    assert [line["train/loss"] for line in logged] == [line["loss"] for line in _metrics(folder)]
    assert "resume" not in errors.read_text()  # W&B has nothing to complain of
