"""The token path through training: packing, normalisation, shards, adapters, and what TRL tokenises by itself.

That SFT, GRPO and evaluation share prompts, supervised bytes and stop tokens stands in `tests/xcoder_core/models/
test_chat.py`, that sampling parameters are sent and recorded in `test_openai_backend.py` beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
import yaml
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from tests.xcoder_core.models.test_chat import PROMPT, WITH_SYSTEM, qwen_tokenizer
from tests.xcoder_train.training.two_processes import run_on_two_processes
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import initialise_model
from xcoder_core.models.prompt import render_prompt
from xcoder_core.models.settings import InitSettings
from xcoder_core.problem import Problem
from xcoder_core.records import read_records
from xcoder_core.stage import SynthLayout
from xcoder_train.grpo.prompts import load_prompts
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.runs.stage import perform
from xcoder_train.sft.data import corpus, read_rows, read_tokens, tokenize
from xcoder_train.sft.forward import attend_within_examples
from xcoder_train.training.start import quiet_libraries

Stage = Callable[..., tuple[Any, Any]]
Weights = Callable[[Path], dict[str, torch.Tensor]]
TEMPLATES = Path(trl.__file__).parent / "chat_templates"
# One step of plain gradient descent: how far a weight moves is its gradient.
ONE_STEP = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "save_strategy": "no"}
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
"""What `accelerate launch` makes of recipes/accelerate/fsdp2.yaml; a test below holds them together."""


def _apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((tensor - other[name]).abs().max()) for name, tensor in one.items())


def _tiny(texts: Any = ("a",), vocabulary: int = 300) -> tuple[PreTrainedModel, Any]:
    init = InitSettings(
        hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, context=512, vocabulary=vocabulary
    )
    return initialise_model(init, texts, seed=0)


@pytest.mark.parametrize("within", [False, True], ids=["by a mask", "one after another"])
def test_a_document_has_the_same_logits_in_a_packed_row_as_alone(within: bool, synthesis: Path, tmp_path: Path) -> None:
    quiet_libraries()
    rows = read_rows(SynthLayout(synthesis), verified=True, prompt_style="plain")[:8]
    model, tokenizer = _tiny(corpus(rows), 400)
    tokenize(rows, tokenizer, tmp_path, max_length=512, truncation_limit=0, packing=True, seed=0)
    dataset, _ = read_tokens(tmp_path)
    arguments = SFTConfig(
        output_dir=str(tmp_path),
        packing=True,
        max_length=512,
        dataset_kwargs={"skip_prepare_dataset": True},
        per_device_train_batch_size=len(dataset),
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
    )
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
    batch = dict(next(iter(trainer.get_train_dataloader())))
    del batch["labels"]
    model.eval()
    lengths = (batch["position_ids"][0] == 0).nonzero()[:, 0].tolist() + [batch["input_ids"].shape[1]]
    assert len(lengths) - 1 == len(rows) > len(dataset)
    with torch.no_grad():
        if within:
            attend_within_examples(model)
            assert model.config._attn_implementation != "sdpa"
        packed = model(**batch, use_cache=False).logits[0]
        model.set_attn_implementation("sdpa")
        for start, end in zip(lengths, lengths[1:], strict=False):
            alone = model(input_ids=batch["input_ids"][:, start:end], use_cache=False).logits[0]
            assert torch.allclose(packed[start:end], alone, atol=1e-5)
        seen = model(input_ids=batch["input_ids"], use_cache=False).logits[0]  # one long document instead
    assert not torch.allclose(packed, seen, atol=1e-2)


def test_a_model_with_windows_of_attention_keeps_the_mask_that_says_so() -> None:
    model, _ = _tiny()
    model.config.sliding_window = 64
    attend_within_examples(model)
    assert model.config._attn_implementation == "sdpa"


def test_rollouts_are_asked_as_the_recipe_words_it_whatever_the_dataset_has(synthesis: Path) -> None:
    layout = SynthLayout(synthesis)
    problems = {problem.problem_id: problem for problem in read_records(layout.problems, Problem)}
    _, tokenizer = _tiny()
    prompts, _ = load_prompts(layout, tokenizer, GrpoSettings(), "livecodebench")
    assert len(prompts) > 0
    for row in prompts:
        assert row["prompt"] == render_prompt(problems[row["problem_id"]], "livecodebench")


@pytest.mark.parametrize("messages", [PROMPT, WITH_SYSTEM], ids=["user", "system"])
@pytest.mark.parametrize("name", ["qwen2_5", "qwen3"])
def test_the_prompt_that_trl_hands_to_vllm_is_that_of_sft_and_evaluation(
    name: str, messages: list[dict[str, str]], tmp_path: Path
) -> None:
    quiet_libraries()
    tokenizer = qwen_tokenizer((TEMPLATES / f"{name}.jinja").read_text())
    model, _ = _tiny(vocabulary=400)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda **columns: [0.0] * len(columns["prompts"]),
        args=GRPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], activation_checkpointing=False
        ),
        train_dataset=Dataset.from_list([{"prompt": messages}]),
        processing_class=tokenizer,
    )
    assert trainer._tokenize_prompts([messages, messages])[0] == [prompt_token_ids(tokenizer, messages)] * 2


def test_the_base_is_what_it_was_after_an_adapter_is_merged_and_taken_out() -> None:
    from peft import LoraConfig, get_peft_model

    model, _ = _tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    ids = torch.arange(6, 60)[None]
    with torch.no_grad():
        own = adapted(ids).logits
        adapted.merge_adapter()
        assert torch.allclose(adapted(ids).logits, own, atol=1e-5)
        adapted.unmerge_adapter()
        assert torch.allclose(adapted(ids).logits, own, atol=1e-5)
        base = adapted.unload()
    assert _apart(before, base.state_dict()) < 1e-6
    with torch.no_grad():
        assert not torch.allclose(base(ids).logits, own, atol=1e-3)


def _recipe_file(folder: Path, synthesis: Path, values: dict[str, Any]) -> Path:
    folder.mkdir()
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**values, "runs_dir": str(folder / "runs"), "inputs": {"synth": str(synthesis)}}))
    return recipe


def _result(folder: Path) -> Path:
    (result,) = (folder / "runs" / "tiny" / "sft").iterdir()
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("packing", "examples"), [(False, 16), (True, 14)], ids=["single", "packed"])
def test_two_processes_weigh_every_supervised_token_alike(
    packing: bool,
    examples: int,
    tmp_path: Path,
    synthesis: Path,
    stage: Stage,
    recipe_values: Callable[..., Any],
    weights: Weights,
) -> None:
    """Answers differ in length, so a mean of the processes' means would be another gradient."""
    changed = {"batch": examples, "packing": packing, "training": ONE_STEP}
    recipe, context = stage("sft", tmp_path / "one", micro_batch=16, **changed)
    perform(recipe, context)
    values = recipe_values("sft", micro_batch=1, launch={"processes": 2}, **changed)
    run_on_two_processes("xcoder_train.sft", str(_recipe_file(tmp_path / "two", synthesis, values)))
    two = _result(tmp_path / "two")
    figures = [json.loads((folder / "stage.json").read_text()) for folder in (tmp_path / "one", two)]
    assert figures[0]["examples_per_step"] == pytest.approx(figures[1]["examples_per_step"])
    moved = _apart(weights(two / "base"), weights(two / "model"))
    assert moved > 1e-2
    assert _apart(weights(tmp_path / "one" / "model"), weights(two / "model")) < 1e-5


@pytest.mark.slow
def test_a_model_trained_in_shards_is_saved_whole(
    tmp_path: Path, synthesis: Path, stage: Stage, recipe_values: Callable[..., Any], weights: Weights
) -> None:
    changed = {"batch": 16, "training": {**ONE_STEP, "learning_rate": 0.5}}
    values = recipe_values("sft", micro_batch=4, launch={"processes": 2}, **changed)
    recipe_file = _recipe_file(tmp_path / "sharded", synthesis, values)
    logits = tmp_path / "logits.pt"
    run_on_two_processes("tests.xcoder_train.training.sharded_run", str(recipe_file), str(logits), **FSDP2)
    model = AutoModelForCausalLM.from_pretrained(_result(tmp_path / "sharded") / "model").eval()
    assert model.dtype == torch.float32
    assert model.generation_config.eos_token_id
    from tests.xcoder_train.training.sharded_run import PROBE

    with torch.no_grad():
        assert torch.allclose(model(PROBE).logits, torch.load(logits), atol=1e-6)
    recipe, context = stage("sft", tmp_path / "one", micro_batch=16, **changed)
    perform(recipe, context)
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "one" / "model")
    assert _apart(alone.state_dict(), model.state_dict()) < 1e-5  # and it learned what one process learns


def test_the_sharded_test_runs_what_the_shipped_configuration_says() -> None:
    shipped = yaml.safe_load((Path(__file__).parents[3] / "recipes" / "accelerate" / "fsdp2.yaml").read_text())
    said = {name.upper(): str(value) for name, value in shipped["fsdp_config"].items()}
    assert {name: value.lower() for name, value in said.items()} == {
        name: value.lower() for name, value in FSDP2.items() if name != "ACCELERATE_USE_FSDP"
    }
