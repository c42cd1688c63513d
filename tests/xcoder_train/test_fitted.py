"""Defaults that follow from the model's context and from what a recipe holds."""

import json
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.errors import InputError
from xcoder_core.models.folder import shape_at
from xcoder_train.grpo.memory import estimate_grpo
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import evaluation_recipe, load_recipe
from xcoder_train.recipe.schema import Recipe

CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
SYNTH = """\
synth:
  splits:
    solved: {use: sft, tasks: 300}
    unsolved: {use: rl, tasks: 200}
    held: {use: evaluation, tasks: 10}
"""


def model(folder: Path, context: int, kind: str = "llama") -> Path:
    """The folder of a model as far as a recipe is checked without loading it."""
    folder.mkdir()
    config: dict[str, Any] = {"model_type": kind, "architectures": ["ForCausalLM"], **CONFIG}
    config["max_position_embeddings"] = context
    if kind == "gemma3":  # whose decoder's settings stand below its own
        config = {"model_type": kind, "architectures": ["ForCausalLM"], "text_config": config}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # a file of no tensors
    return folder


def recipe(tmp_path: Path, start: Path, sections: str, *overrides: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: first\nmodel: {{path: {start}}}\n{SYNTH}{sections}\n")
    return load_recipe(path, overrides)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
@pytest.mark.parametrize("context", [1024, 8192, 131072])
def test_a_first_recipe_that_names_no_length_fits_the_model(tmp_path: Path, context: int, kind: str) -> None:
    loaded = recipe(tmp_path, model(tmp_path / "m", context, kind), "sft: {}\ngrpo: {}\nevaluation: {}")
    sft, grpo, evaluation = loaded.sft, loaded.grpo, loaded.evaluation
    assert sft is not None and grpo is not None and evaluation is not None
    assert sft.max_length == min(32768, context)
    assert grpo.max_prompt_length == min(2500, context // 2)
    assert grpo.max_completion_length == min(30196, context - grpo.max_prompt_length)
    assert evaluation.sampling.max_new_tokens == min(32768, context - 1)
    assert evaluation.models == ("base", "sft", "rl")


def test_an_evaluation_without_a_recipe_runs_at_the_first_try(tmp_path: Path) -> None:
    benchmark = tmp_path / "HumanEval.jsonl"
    benchmark.write_text("")
    start = model(tmp_path / "m", 8192)
    recipe = evaluation_recipe(str(start), [f"evalplus:{benchmark}"], None)
    evaluation = load_recipe(recipe, ["evaluation.samples=4"]).evaluation
    assert evaluation is not None
    assert (evaluation.sampling.max_new_tokens, evaluation.k) == (8191, (1,))
    with pytest.raises(InputError, match=r"set evaluation\.sampling\.max_new_tokens to less, or leave it out"):
        load_recipe(recipe, ["evaluation.sampling.max_new_tokens=8192"])


@pytest.mark.parametrize(
    ("given", "lengths"),
    [
        ([], (2500, 5692)),
        (["grpo.max_completion_length=7000"], (1192, 7000)),
        (["grpo.max_prompt_length=4000"], (4000, 4192)),
        (["grpo.max_prompt_length=100", "grpo.max_completion_length=200"], (100, 200)),
        (["grpo.generation=vllm_colocate", "grpo.training.vllm_max_model_length=3000"], (1500, 1500)),
    ],
)
def test_what_is_given_of_a_rollouts_length_stays_and_the_rest_is_what_it_leaves(
    tmp_path: Path, given: list[str], lengths: tuple[int, int]
) -> None:
    grpo = recipe(tmp_path, model(tmp_path / "m", 8192), "grpo: {}", *given).grpo
    assert grpo is not None
    assert (grpo.max_prompt_length, grpo.max_completion_length) == lengths


@pytest.mark.parametrize(("prompts", "rollouts", "processes", "each"), [(4, 6, 1, 8), (5, 6, 1, 6), (7, 5, 1, 7)])
def test_a_micro_batch_that_is_left_out_divides_a_step(
    tmp_path: Path, prompts: int, rollouts: int, processes: int, each: int
) -> None:
    step = f"grpo: {{prompts_per_step: {prompts}, rollouts: {rollouts}, launch: {{processes: {processes}}}}}"
    grpo = recipe(tmp_path, model(tmp_path / "m", 8192), step).grpo
    assert grpo is not None and grpo.micro_batch == each


def test_what_a_recipe_measures_is_what_it_trains(tmp_path: Path) -> None:
    start = model(tmp_path / "m", 8192)
    for sections, models in (
        ("sft: {}\nevaluation: {}", ("base", "sft")),
        ("grpo: {}\nevaluation: {}", ("base", "rl")),
        ("evaluation: {}", ("base",)),
    ):
        evaluation = recipe(tmp_path, start, sections).evaluation
        assert evaluation is not None and evaluation.models == models


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sft.max_length=8193", "rows of 8193 tokens do not fit the model's context of 8192"),
        ("grpo.max_completion_length=8192", "max_completion_length (8192)"),
        ("grpo.micro_batch=7", "must be divisible by micro_batch (7)"),
        ("evaluation.k=[1, 16]", "pass@16 cannot be estimated from 8 samples"),
    ],
)
def test_what_is_written_and_cannot_work_is_refused(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        recipe(tmp_path, model(tmp_path / "m", 8192), "sft: {}\ngrpo: {}\nevaluation: {}", override)
    assert said in str(error.value)


def test_the_resolved_recipe_says_what_was_chosen(tmp_path: Path) -> None:
    recipe(tmp_path, model(tmp_path / "m", 8192), "sft: {}")
    resolved = make_plan(tmp_path / "recipe.yaml", []).figures["resolved"]
    assert resolved["sft"]["max_length"] == 8192


@pytest.mark.parametrize("kind", ["transformers", "vllm"])
def test_a_teachers_answers_fit_its_context_before_any_is_asked_for(tmp_path: Path, kind: str) -> None:
    start = model(tmp_path / "m", 8192)
    teacher = f"synth.teacher={{kind: {kind}, model: {start}}}"
    synth = recipe(tmp_path, start, "sft: {}", teacher).synth
    assert synth is not None and synth.teacher.kind != "procedural"
    assert synth.teacher.sampling.solutions.max_new_tokens == synth.features.sampling.max_new_tokens == 8191
    with pytest.raises(InputError, match=r"9000 new tokens leave no room for a prompt in a context of 8192"):
        recipe(tmp_path, start, "sft: {}", teacher, "synth.teacher.sampling.solutions={max_new_tokens: 9000}")


def test_the_cache_of_rollouts_is_planned_for_those_that_are_decoded_together(tmp_path: Path) -> None:
    start = model(tmp_path / "m", 8192)
    shape = shape_at(start)
    assert shape is not None
    cached = {}
    for prompts, more in ((2, ""), (4, ""), (128, ""), (2, ", evaluation: {tasks: 10, samples: 2}")):
        step = f"grpo: {{prompts_per_step: {prompts}, rollouts: 2{more}}}"
        grpo = recipe(tmp_path, start, step).grpo
        assert grpo is not None
        cached[prompts, more] = estimate_grpo(shape, grpo, on_gpu=False).key_value_cache
    few, twice, all_of_a_batch, held_out = cached.values()
    assert (twice, all_of_a_batch, held_out) == (2 * few, 16 * few, 5 * few)
