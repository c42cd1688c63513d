"""What `model/` holds after training: the trainer's weights, whatever the start is stored in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from xcoder_core.errors import InputError
from xcoder_core.models.loading import ADAPTER, load_model, load_trained, needed_adapter
from xcoder_train.grpo import train as grpo
from xcoder_train.runs.evaluation import sampled_weights, target_generator
from xcoder_train.runs.keys import EvaluationTarget, stage_key
from xcoder_train.runs.stage import perform
from xcoder_train.sft import train as sft
from xcoder_train.training.weights import load_training_model

Stage = Callable[..., tuple[Any, Any]]
IDS = torch.arange(6, 60)[None]
LORA = {"rank": 4, "alpha": 8}
SMALL, LARGE = 2e-4, 3e-2  # rates whose updates bfloat16 rounds away, and keeps


@pytest.fixture(scope="module")
def starts(by_heart: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of one SFT result in two dtypes."""
    tokenizer = AutoTokenizer.from_pretrained(by_heart / "model")
    found = {}
    for dtype in ("float32", "bfloat16"):
        found[dtype] = tmp_path_factory.mktemp(dtype)
        model = AutoModelForCausalLM.from_pretrained(by_heart / "model", dtype=getattr(torch, dtype))
        model.save_pretrained(found[dtype] / "model")
        tokenizer.save_pretrained(found[dtype] / "model")
    return found


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS.to(model.device)).logits.float()


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, as a share of the largest logit."""
    return float((one - other).abs().max() / other.abs().max())


def train(
    name: str, make: Stage, folder: Path, start: Path, rate: float, save_dtype: str | None = None, **changed: Any
) -> tuple[Any, torch.Tensor, dict[str, Any]]:
    """Train a stage from the model of a result; the recipe, the logits that the trainer had, and what it left."""
    stage = {"sft": sft, "grpo": grpo}[name]
    seen: list[torch.Tensor] = []
    own = stage.save_trained

    def looked_at(trainer: Any, *given: Any) -> Any:
        seen.append(logits_of(trainer.model))
        return own(trainer, *given)

    model = {"path": str(start / "model"), "save_dtype": save_dtype}
    training = {"max_steps": 2, "learning_rate": rate, "save_strategy": "no"}
    inputs = {"sft": start} if name == "grpo" else {}
    recipe, context = make(name, folder, inputs, model=model, training=training, **changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "save_trained", looked_at)
        perform(recipe, context)
    return recipe, seen[0], json.loads((folder / "stage.json").read_text())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_the_saved_model_has_the_trainers_logits(
    name: str, lora: Any, dtype: str, starts: dict[str, Path], tmp_path: Path, stage: Stage
) -> None:
    recipe, expected, left = train(name, stage, tmp_path, starts[dtype], SMALL, lora=lora)
    before = logits_of(load_model(starts[dtype] / "model", torch.float32))
    assert apart(expected, before) > 1e-3  # something was learned
    assert left["update_lost_in_16_bits"] > 0.1  # and 16 bits would have lost it
    assert (left["saved_dtype"], left["update_lost"]) == ("float32", 0.0)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")  # as anybody loads it
    assert saved.dtype == torch.float32
    assert apart(logits_of(saved), expected) < 1e-5
    assert apart(logits_of(load_trained(tmp_path / "model", recipe.model)), expected) < 1e-5  # as evaluation does
    assert (tmp_path / ADAPTER).is_dir() == (lora is not None)
    if lora is not None:
        start = AutoModelForCausalLM.from_pretrained(starts[dtype] / "model", dtype=torch.float32)
        assert apart(logits_of(PeftModel.from_pretrained(start, tmp_path / ADAPTER)), expected) < 1e-5
        kept = json.loads((tmp_path / ADAPTER / "adapter_config.json").read_text())
        assert kept["base_model_name_or_path"] == str(starts[dtype] / "model")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_model_that_rounding_hardly_changes_keeps_the_dtype_and_size_of_its_start(
    lora: Any, starts: dict[str, Path], tmp_path: Path, stage: Stage
) -> None:
    _, expected, left = train("sft", stage, tmp_path, starts["bfloat16"], LARGE, lora=lora)
    sizes = [(folder / "model" / "model.safetensors").stat().st_size for folder in (tmp_path, starts["bfloat16"])]
    assert left["saved_dtype"] == "bfloat16" and 0 < left["update_lost"] <= 0.1 and sizes[0] == sizes[1]
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert saved.dtype == torch.bfloat16
    rounded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    assert apart(logits_of(rounded), expected) < 0.02
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| saved dtype | `bfloat16` |" in card and f"| update lost | {left['update_lost']:,.4g} |" in card


def test_the_error_of_rounding_is_that_of_the_saved_update(
    starts: dict[str, Path], tmp_path: Path, stage: Stage, weights: Callable[[Path], dict[str, torch.Tensor]]
) -> None:
    _, _, exact = train("sft", stage, tmp_path / "exact", starts["bfloat16"], SMALL, lora=LORA)
    _, _, rounded = train("sft", stage, tmp_path / "rounded", starts["bfloat16"], SMALL, "bfloat16", lora=LORA)
    start, true, saved = (
        torch.cat([value.double().flatten() for _, value in sorted(weights(folder / "model").items())])
        for folder in (starts["bfloat16"], tmp_path / "exact", tmp_path / "rounded")
    )
    error = float((saved - true).norm() / (true - start).norm())
    assert rounded["saved_dtype"] == "bfloat16" and rounded["update_lost"] == pytest.approx(error, rel=1e-4)
    assert exact["update_lost_in_16_bits"] == pytest.approx(error, rel=1e-4)


def test_where_the_saved_model_has_lost_the_update_evaluation_and_grpo_take_the_adapter(
    starts: dict[str, Path], tmp_path: Path, stage: Stage
) -> None:
    first, second = tmp_path / "sft", tmp_path / "grpo"
    recipe, expected, left = train("sft", stage, first, starts["bfloat16"], SMALL, "bfloat16", lora=LORA)
    assert left["update_lost"] > 0.1
    merged = logits_of(load_model(first / "model", torch.float32))
    assert apart(merged, expected) > 1e-3
    assert apart(logits_of(load_trained(first / "model", recipe.model)), expected) < 1e-5
    for has_adapters in (False, True):
        start = load_training_model(first / "model", recipe.model, lora=has_adapters)
        assert apart(logits_of(start), expected) < 1e-5
        assert not any("lora" in name for name, _ in start.named_parameters())
    # Adapters above a model that lies in its own adapter.
    _, expected, _ = train("grpo", stage, second, first, SMALL, "bfloat16", lora=LORA)
    assert apart(logits_of(load_trained(second / "model", recipe.model)), expected) < 1e-5
    adapter = needed_adapter(second / "model", torch.bfloat16)
    assert adapter == second / ADAPTER
    by_vllm = {"models": ["rl"], "generation": {"backend": "vllm"}}
    measured = type(recipe).model_validate({**recipe.model_dump(), "evaluation": by_vllm})
    target = EvaluationTarget("rl", second / "model", tmp_path / "evaluation", "key")
    with pytest.raises(InputError, match="vLLM holds one adapter"), target_generator(measured, target):
        pass


def test_computing_in_16_bits_keeps_the_adapter_above_its_start(
    starts: dict[str, Path], tmp_path: Path, stage: Stage
) -> None:
    """As on a GPU: what the merged weights lose there is most of the update, though they are saved in float32."""
    recipe, trained, _ = train("sft", stage, tmp_path, starts["bfloat16"], 2e-5, lora=LORA)
    untrained = logits_of(load_model(starts["bfloat16"] / "model", torch.bfloat16))
    adapted = PeftModel.from_pretrained(load_model(starts["bfloat16"] / "model", torch.bfloat16), tmp_path / ADAPTER)
    evaluated = load_trained(tmp_path / "model", recipe.model, torch.bfloat16)
    assert evaluated.dtype == torch.bfloat16
    assert torch.equal(logits_of(evaluated), logits_of(adapted))
    assert not torch.equal(logits_of(evaluated), untrained)


def test_evaluation_says_which_weights_it_sampled(starts: dict[str, Path], tmp_path: Path, stage: Stage) -> None:
    recipe, expected, _ = train("sft", stage, tmp_path, starts["bfloat16"], SMALL, "bfloat16", lora=LORA)
    target = EvaluationTarget("sft", tmp_path / "model", tmp_path / "evaluation", "key")

    def measured(**generation: Any) -> Any:
        evaluation = {"models": ["sft"], "generation": generation}
        return type(recipe).model_validate({**recipe.model_dump(), "evaluation": evaluation})

    def sampled(target: EvaluationTarget, **generation: Any) -> str:
        return sampled_weights(target, measured(**generation).evaluation.generation.on(has_gpu=False))

    assert sampled(target) == sampled(target, backend="vllm") == str(tmp_path / ADAPTER)
    assert sampled(target, backend="openai", openai={"base_url": "http://localhost/v1"}) == str(tmp_path / "model")
    base = EvaluationTarget("base", starts["bfloat16"] / "model", tmp_path / "evaluation", "key")
    assert sampled(base) == str(starts["bfloat16"] / "model")
    with target_generator(measured(), target) as generator:
        assert apart(logits_of(generator.model), expected) < 1e-5  # type: ignore[attr-defined]


def test_the_key_tells_a_named_dtype(stage: Stage, tmp_path: Path, starts: dict[str, Path], synthesis: Path) -> None:
    def key(**model: Any) -> str:
        recipe, _ = stage("sft", tmp_path, model={"path": str(starts["float32"] / "model"), **model})
        return stage_key(
            recipe.model_copy(update={"inputs": recipe.inputs.model_copy(update={"synth": synthesis})}), "sft"
        )

    assert key() == key(save_dtype=None) != key(save_dtype="bfloat16")
