"""Recipes: every mistake at once, each with its place, and nothing that training would refuse later."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_core.yaml_source import Located
from xcoder_train.recipe.reading import _ONE_VALUE, examine_recipe, load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import stage_key

GOOD = """\
name: tiny
model: {init: {context: 512}}
synth:
  splits:
    solved: {use: sft, tasks: 10}
    unsolved: {use: rl, tasks: 10}
    held: {use: evaluation, tasks: 10}
sft: {batch: 8, max_length: 512, training: {learning_rate: 5e-4, num_train_epochs: 2}}
grpo:
  {prompts_per_step: 4, rollouts: 4, max_prompt_length: 200, max_completion_length: 200, micro_batch: 16}
evaluation: {samples: 2, k: [1, 2], sampling: {max_new_tokens: 200}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def refusal(path: Path, overrides: Sequence[str] = ()) -> str:
    with pytest.raises(InputError) as error:
        load_recipe(path, overrides)
    return str(error.value)


def test_a_sound_recipe_runs_its_sections_as_stages(recipe: Path) -> None:
    loaded = load_recipe(recipe, [])
    assert loaded.stages == ("synth", "sft", "grpo", "evaluation", "report")
    assert loaded.run_folder == Path("runs/tiny")
    assert loaded.sft is not None and loaded.sft.training.learning_rate == 5e-4


@pytest.mark.parametrize(
    ("override", "styles"),
    [
        ("synth.styles={codeforces: 1}", {"codeforces": 1}),
        ("synth.styles.codeforces=1", {"codeforces": 1, "leetcode": 0.5}),
    ],
)
def test_a_mapping_of_numbers_on_the_command_line_is_the_whole_value_and_sections_merge(
    recipe: Path, override: str, styles: dict[str, float]
) -> None:
    given = ["synth.styles={codeforces: 0.5, leetcode: 0.5}", "sft.training={weight_decay: 0.1}", override]
    loaded = load_recipe(recipe, given)
    assert loaded.synth is not None and loaded.synth.styles == styles and loaded.synth.splits
    assert loaded.sft is not None and loaded.sft.training.weight_decay == 0.1
    assert loaded.sft.training.learning_rate == 5e-4


def test_every_mapping_of_numbers_or_texts_in_a_recipe_is_one_value() -> None:
    schemas = [Recipe.model_json_schema(), *Recipe.model_json_schema()["$defs"].values()]
    fields = [field for schema in schemas for field in schema.get("properties", {}).items()]
    forms = [(name, form) for name, field in fields for form in (field, *field.get("anyOf", ()))]
    plain = [{"type": kind} for kind in ("number", "integer", "string", "boolean")]
    assert {name for name, form in forms if form.get("additionalProperties") in plain} == set(_ONE_VALUE)


def test_a_resolved_recipe_is_a_recipe(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe, ["sft.launch.threads=2"])
    resolved = tmp_path / "resolved.json"
    resolved.write_text(loaded.model_dump_json())
    assert load_recipe(resolved, []) == loaded


def test_a_recipe_with_many_mistakes_reports_all_of_them_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "seeed: 3\n"
        "model: {init: {context: 512}}\n"
        "synth:\n"
        "  splits:\n"
        "    solved: {use: sfft, tasks: 10}\n"
        "    second: {tasks: 0}\n"
        "sft:\n"
        '  batch: "8"\n'
        "  max_length: 600\n"
        "  learning_rate: 3\n"
        "  training:\n"
        "    warmup_ratio: 0.1\n"
        "    learning_rat: 3\n"
        "    max_steps: 1.5\n"
        "    lr_scheduler_type: cosin\n"
        "    max_seq_length: 3\n"
        "evaluation: {samples: 2, k: [1, 100]}\n"
    )
    said = refusal(path)
    for line, words in (
        (2, "seeed = 3: no such key; did you mean `seed`?"),
        (6, "synth.splits.solved.use = \"sfft\": expected 'sft', 'rl' or 'evaluation'; did you mean `sft`?"),
        (7, "synth.splits.second.use: is needed and not given"),
        (7, "synth.splits.second.tasks = 0: expected greater than or equal to 1"),
        (9, 'sft.batch = "8": expected a whole number'),
        (11, "sft.learning_rate = 3: no such key; it belongs to sft.training.learning_rate"),
        (13, "sft.training.warmup_ratio = 0.1: no such key; did you mean `warmup_steps`?"),
        (
            14,
            "sft.training.learning_rat = 3: no such key; did you mean `learning_rate`? Arguments of trl.SFTConfig",
        ),
        (15, "sft.training.max_steps = 1.5: expected a whole number"),
        (16, 'sft.training.lr_scheduler_type = "cosin": expected'),
        (17, "sft.training.max_seq_length = 3: no such key; it is decided by `sft.max_length`"),
    ):
        assert any(shown.startswith(f"  {path}:{line}: ") and words in shown for shown in said.splitlines()), words
    assert f"{path}: {len(said.splitlines()) - 1} mistakes in the recipe" in said


def test_all_settings_that_do_not_fit_together_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "model: {init: {context: 512}}\n"
        "synth: {splits: {solved: {use: sft, tasks: 10}}}\n"
        "sft:\n"
        "  max_length: 600\n"
        "evaluation: {samples: 2, k: [1, 100]}\n"
    )
    said = refusal(path)
    assert "3 mistakes in the recipe" in said
    assert f"{path}:4: sft.max_length = 600: rows of 600 tokens do not fit the model's context of 512" in said
    assert f"{path}:5: evaluation.k = [1, 100]: pass@100 cannot be estimated from 2 samples" in said


def test_a_mapping_is_a_recipe_too(recipe: Path) -> None:
    sections = {"name": "mapped", "model": {"path": "owner/name"}, "evaluation": {"benchmarks": ["humaneval"]}}
    with pytest.raises(InputError, match=r'the recipe: evaluation\.benchmarks\.0 = "humaneval"'):
        load_recipe(sections)
    assert load_recipe(load_recipe(recipe).model_dump(mode="json")) == load_recipe(recipe)


def test_repeated_keys_are_told_with_all_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 1\nseed: 2\n")
    path = tmp_path / "r.yaml"
    path.write_text(
        "extends: base.yaml\nsynth:\n"
        "  candidates_per_task: 8\n  candidates_per_task: 4\n  splits: {a: {use: sft, tasks: 4}}\nseeed: 1\n"
    )
    said = refusal(path)
    assert "3 mistakes" in said
    assert f"{path}:4: duplicate key `candidates_per_task`, first given at {path}:3" in said
    assert f"{tmp_path}/base.yaml:2: duplicate key `seed`" in said and f"{path}:6: seeed = 1" in said


def test_an_empty_override_is_refused_and_null_is_named(recipe: Path) -> None:
    assert "there is no value; to take the setting away, write sft.batch=null" in refusal(recipe, ["sft.batch="])


def test_one_mistake_is_not_told_twice(recipe: Path) -> None:
    for override in ("evaluation.k=5", "synth=3", "sft.launch.processes=two", "model.init.heads=5", "judge.tier=E"):
        assert ": 1 mistake in" in refusal(recipe, [override]), override


def test_an_override_in_a_message_is_named_as_what_it_is(recipe: Path) -> None:
    said = refusal(recipe, ["sft.training.max_steps=many"])
    assert "override 'sft.training.max_steps=many': sft.training.max_steps = \"many\": expected a whole number" in said


@pytest.mark.parametrize("override", ["seed", "=3", "a.b=[1", "extends=other.yaml"])
def test_an_unparsable_override_is_named(recipe: Path, override: str) -> None:
    assert f"override '{override}'" in refusal(recipe, ["seed=1", override])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["grpo.micro_batch=3"], "prompts_per_step (4) x rollouts (4) = 16 completions per step must be divisible by"),
        (["grpo.max_completion_length=400"], "max_prompt_length (200) + max_completion_length (400) = 600 tokens"),
        (["grpo.prompts_per_step=16"], "a step of 16 prompts cannot be filled from 10 tasks for rl"),
        (["sft=null"], "needs a model to start from"),
        (["grpo=null", "evaluation.models=[rl]"], "`rl` is what the stage `grpo` trains"),
        (["synth=null"], "needs tasks: give a `synth:` section or `inputs.synth`"),
        (["synth.splits.unsolved=null"], "`grpo` needs a split with `use: rl`"),
        (
            [
                "synth.teacher={kind: openai, server: {base_url: 'http://localhost/v1', model: m}}",
                "synth.features.source={kind: xcoder_rows, path: missing.jsonl}",
            ],
            'synth.features.source.path = "missing.jsonl": there is no such file',
        ),
        (["synth.splits.held=null"], "the benchmark `heldout` needs a split with `use: evaluation`"),
        (["inputs.sft=runs/other"], "this recipe has a `sft:` section of its own"),
        (["model.path=some/model"], "exclude each other"),
        (["model=null"], "needs a model to start from"),
        (["evaluation.k=[0]"], "every k must lie between 1 and evaluation.samples"),
        (["evaluation.sampling.max_new_tokens=512"], "leave no room for a prompt"),
        (["evaluation.benchmarks=[livecodebench]"], "livecodebench:v5-279  (release_v5"),
        (["evaluation.benchmarks=[mbpp]"], "expected `heldout`, `livecodebench:NAME`"),
        (["evaluation.benchmarks=['file:missing.jsonl']"], "there is no such file"),
        (["grpo.training={num_iterations: 2, save_steps: 5}"], "must be divisible by num_iterations (2)"),
        (["grpo.training.loss_type=gspo"], "GSPO is `importance_sampling_level: sequence` with `loss_type: grpo`"),
        (["grpo.training.num_generations=4"], "is decided by `grpo.rollouts`"),
        (["grpo.training.max_prompt_length=4"], "is decided by the key of this name below `grpo`"),
        (
            ["grpo.training.dataloader_num_workers=2"],
            "Arguments of trl.GRPOConfig without a key go below grpo.training.t",
        ),
        (
            ["grpo.training.trl.num_generations=4"],
            "grpo.training.trl.num_generations = 4: is decided by `grpo.rollouts`",
        ),
        (
            ["sft.training.trl={max_steps: 4}"],
            "sft.training.trl.max_steps = 4: is decided by a key of its own: sft.training.max_steps",
        ),
        (["sft.training.gradient_checkpointing=true"], "is decided by `sft.training.activation_checkpointing`"),
        (
            ["sft.training.evaluation_strategy=steps"],
            "is decided by `sft.evaluation`, and no step depends on its result",
        ),
        (["sft.training.bf16=1"], "expected true or false"),
        (["grpo.training.eval_strategy=epoch"], "is decided by `grpo.evaluation`, and no step depends on its result"),
        (["sft.training.trl.load_best_model_at_end=true"], "no step depends on its result"),
        (["sft.training.lr_scheduler_type=reduce_lr_on_plateau"], "expected 'linear', 'cosine'"),
        (["sft.training.save_strategy=best"], "expected 'steps', 'epoch' or 'no'"),
        (
            ["sft.evaluation={}", "synth.splits.held=null", "evaluation.benchmarks=[]"],
            "sft.evaluation needs a split with",
        ),
        (["sft.training.push_to_hub=true"], "is decided by the stage, which uploads nothing"),
        (["sft.training.warmup_steps=-1"], "expected greater than or equal to 0"),
        (["sft.training.logging_steps=0"], "expected greater than 0"),
        (["sft.training.save_steps=2.5"], "expected a whole number of steps, or below 1 a share of all steps"),
        (["sft.training.adam_beta2=7"], "expected less than 1"),
        (["sft.training.max_steps=0"], "or -1 to train for num_train_epochs"),
        (["grpo.training.num_train_epochs=0"], "expected greater than 0"),
        (["grpo.training.epsilon=-3"], "expected greater than 0"),
        (["sft.training.weight_decay=.nan"], "sft.training.weight_decay = NaN: expected a finite number"),
        (["sft.training.save_steps=.inf"], "sft.training.save_steps = Infinity: expected a finite number"),
        (["sft.training.num_train_epochs=.inf"], "expected a finite number"),
        (["evaluation.sampling.temperature=.inf"], "evaluation.sampling.temperature = Infinity: expected a finite"),
        (["sft.training.lr_scheduler_type=[cosine]"], 'sft.training.lr_scheduler_type = ["cosine"]: expected'),
        (["grpo.training.loss_type={dapo: 1}"], "grpo.training.loss_type: expected 'grpo', 'dr_grpo'"),
        (["sft.training.lr_scheduler_type=cosine_with_min_lr"], "needs lr_scheduler_kwargs with min_lr or min_lr_rate"),
        (["sft.training.learning_rate=0"], "expected greater than 0"),
        (["sft.optimizer={name: muon}", "sft.training.learning_rate=null"], "set sft.training.learning_rate, such as"),
        (["sft.optimizer={name: muon}", "sft.training.optim=adafactor"], "is decided by optimizer.name: muon"),
        (["sft.optimizer.learning_rate_rest=0.1"], "is the rate of what Muon leaves over"),
        (["sft.launch={processes: 2, gpus: [0]}"], "2 processes need as many GPUs"),
        (["sft.quantize=nf4"], "weights in 4 bits cannot be trained themselves: give sft.lora"),
        (["sft.launch={processes: 3, nodes: 2}"], "processes (3) must be divisible by nodes (2)"),
        (["sft.launch.hardware.mfu=0.4"], "is a share of peak_tflops, which is not set"),
        (["sft.launch.accelerate=missing.yaml"], "missing.yaml: cannot be read"),
        (["grpo.training.num_iterations=3"], "save_steps (500) must be divisible by num_iterations (3)"),
        (
            ["grpo.training.save_only_model=true"],
            "is decided by the stage, which continues exactly where it was interrupted",
        ),
        (["sft.training.trl.ignore_data_skip=true"], "the stage, which continues exactly where it was interrupted"),
        (["grpo.training.shuffle_dataset=false"], "is decided by `grpo.curriculum`"),
        (["grpo.reward.deadline_seconds=1000"], "must be at most half of training.ddp_timeout (1800 s)"),
        (["grpo.training.vllm_gpu_memory_utilization=0.4"], "has no effect with generation: transformers"),
        (["grpo.dynamic_sampling={rounds: 1}"], "grpo.dynamic_sampling: replaces nothing"),
        (
            [
                "grpo.dynamic_sampling={}",
                "grpo.generation=vllm_colocate",
                "grpo.training.trl={vllm_importance_sampling_correction: false}",
            ],
            "they would count as the policy's own",
        ),
        (["grpo.rollouts_from=nowhere"], "nowhere holds no judged rollouts; expected the folder of a GRPO"),
        (["grpo.rollouts_from=nowhere", "grpo.curriculum={}"], "rollouts_from decides the prompts and their order"),
        (["grpo.rollouts_from=nowhere", "grpo.online_rates={}"], "rollouts_from decides the prompts and their order"),
        (
            ["grpo.prompts_per_step=10", "grpo.online_rates={}"],
            "chooses nothing: all 10 tasks for rl are asked at once",
        ),
        (["grpo.online_rates={revisit: 1}"], "grpo.online_rates.revisit"),
        (["grpo.online_rates={target: 1}"], "grpo.online_rates.target"),
        (["grpo.rollouts_from=nowhere", "grpo.generation=vllm_colocate"], "nothing is sampled with rollouts_from"),
        (["grpo.rollouts_from=nowhere", "grpo.keep_rollouts=true"], "names rollouts that are kept already"),
        (["grpo.vllm_batch=4"], "has no effect with generation: transformers, which has rollout_batch"),
        (["grpo.vllm_batch=6", "grpo.generation=vllm_server"], "vllm_batch (6) must be divisible by rollouts (4)"),
        (["grpo.dynamic_sampling={oversample: 3}"], "grpo.dynamic_sampling.oversample"),
        (
            ["grpo.generation=vllm_server", "grpo.training.vllm_tensor_parallel_size=2"],
            "has no effect with generation: vllm_server; give it to the server when you start it",
        ),
        (
            ["grpo.generation=vllm_colocate", "grpo.training.vllm_server_base_url='http://x'"],
            "has no effect with generation: vllm_colocate",
        ),
        (
            ["grpo.generation=vllm_colocate", "grpo.launch.processes=4", "grpo.training.vllm_tensor_parallel_size=3"],
            "vllm_tensor_parallel_size (3) must divide launch.processes (4)",
        ),
        (
            ["grpo.generation=vllm_colocate", "grpo.training.vllm_max_model_length=300"],
            "vllm_max_model_length (300) is less than max_prompt_length (200) + max_completion_length (200) = 400",
        ),
        (["grpo.training.trl.min_p=0.1"], "grpo.training.trl.min_p = 0.1: has no effect with generation: transformers"),
        (["grpo.training.loss_type=cispo"], "set grpo.training.epsilon_high above 1"),
        (["grpo.training={loss_type: cispo, epsilon_high: 0.28}"], "set grpo.training.epsilon_high above 1"),
        (
            [
                "grpo.generation=vllm_colocate",
                "grpo.training={loss_type: vespo, vllm_importance_sampling_mode: sequence_mask}",
            ],
            "loss_type vespo needs one of token_truncate, token_mask",
        ),
        (
            [
                "grpo.generation=vllm_colocate",
                "grpo.training={loss_type: vespo, vllm_importance_sampling_mode: geometric_mask}",
            ],
            "loss_type vespo needs one of token_truncate, token_mask",
        ),
        (
            ["grpo.training.vllm_importance_sampling_mode=geometric_mask"],
            'vllm_importance_sampling_mode = "geometric_mask": has no effect with generation: transformers',
        ),
        (
            [
                "grpo.generation=vllm_colocate",
                "grpo.training={vllm_importance_sampling_mode: geometric_mask, "
                "trl: {vllm_importance_sampling_correction: false}}",
            ],
            "masks nothing with training.trl.vllm_importance_sampling_correction: false",
        ),
        (
            ["grpo.generation=vllm_colocate", "grpo.training.vllm_geometric_bounds=[0.98, 1.02]"],
            "has no effect with vllm_importance_sampling_mode: token_truncate",
        ),
        (["grpo.training.vllm_geometric_bounds=[1.001, 1.01]"], "expected less than 1"),
        (["grpo.training.vllm_geometric_bounds=[0.9, 0.99]"], "expected greater than 1"),
        (["grpo.training.vllm_geometric_bounds=[0.9]"], "grpo.training.vllm_geometric_bounds"),
        (["grpo.lora.targets=[q_proj, lm_head]"], "leave lm_head out"),
        (["grpo.training={sync_ref_model: true, beta: 0.1}"], "which continues exactly where it was interrupted"),
        (
            ["grpo.generation=vllm_colocate", "grpo.training.trl.generation_kwargs={seed: 1}"],
            "`seed` is decided by the seed of vLLM's process",
        ),
        (
            ["grpo.generation=vllm_server", "grpo.training.trl.generation_kwargs={temperature: 0.6}"],
            "`temperature` is decided by `grpo.temperature`",
        ),
        (["grpo.max_num_seqs=8"], "grpo.max_num_seqs = 8: has no effect with generation: transformers"),
        (["grpo.generation=vllm_server", "grpo.max_num_seqs=8"], "has no effect with generation: vllm_server"),
        (["grpo.launch.hardware.memory_gib=0"], "expected greater than 0"),
        (
            ["grpo.training.chat_template_kwargs={enable_thinking: false}"],
            "is decided by the tokenizer's chat template",
        ),
        (["grpo.curriculum={pass_rates: nowhere.parquet}"], "no such file; without it the run measures them itself"),
        (["grpo.curriculum={bands: [easy], pass_rates: nowhere.parquet}"], "name each once, and leave pass_rates out"),
        (["grpo.curriculum={bands: [easy, hard, easy]}"], "name each once, and leave pass_rates out"),
        (["grpo.curriculum={bands: [part_0000]}"], "expected bins of synth.difficulty: easy, medium, hard"),
        (["grpo.curriculum.generation={backend: openai}"], "needs an `openai:` section that names the server"),
        (
            ["grpo.curriculum.generation={backend: vllm, max_model_len: 300}"],
            "is less than max_prompt_length + max_completion_length = 400",
        ),
        (["grpo.curriculum.launch={processes: 2, gpus: [0]}"], "grpo.curriculum.launch.processes"),
        (
            ["grpo.evaluation={}", "synth.splits.held.use=rl", "evaluation.benchmarks=[]"],
            "needs a split with `use: evaluation`",
        ),
        (
            ["grpo.updates_per_rollouts=3"],
            "a set of 12 prompts cannot be filled from 10 tasks for rl",
        ),
        (
            ["grpo.updates_per_rollouts=2", "grpo.training.save_steps=5"],
            "save_steps (5) must be divisible by updates_per_rollouts (2)",
        ),
        (
            ["grpo.updates_per_rollouts=2", "grpo.training={num_iterations: 3, save_steps: 4}"],
            "save_steps (4) must be divisible by updates_per_rollouts x num_iterations (6)",
        ),
        (["grpo.updates_per_rollouts=2", "grpo.training.save_steps=0.1"], "save_steps (0.1) must be divisible by"),
        (["grpo.updates_per_rollouts=0"], "expected greater than or equal to 1"),
        (["grpo.training.steps_per_generation=4"], "is decided by `grpo.updates_per_rollouts`"),
        (["grpo.training.save_minutes=0"], "grpo.training.save_minutes = 0: expected greater than 0"),
        (["sft.training.trl.save_minutes=5"], "is decided by a key of its own: sft.training.save_minutes"),
        (["grpo.lengths=[[1, 100]]"], "expected [step, tokens] pairs, steps rising from 0; found ((1, 100),)"),
        (["grpo.lengths=[[0, 100], [9, 150], [9, 200]]"], "found ((0, 100), (9, 150), (9, 200))"),
        (["grpo.lengths=[[0, 0]]"], "expected [step, tokens] pairs"),
        (["grpo.lengths=[[0, 100], [9, 201]]"], "201 tokens are more than max_completion_length (200)"),
        (["grpo.lengths=[[0, 100], [9, 200]]", "grpo.training.max_steps=9"], "step 9 is never reached"),
        (["grpo.reward.overlong={tokens: 200}"], "before a limit of 200 would meet all completions"),
        (["grpo.lengths=[[0, 50], [9, 200]]", "grpo.reward.overlong={tokens: 60}"], "before a limit of 50 would meet"),
        (["grpo.reward.overlong={penalty: 2}"], "grpo.reward.overlong.tokens"),
        (["grpo.reward.overlong={tokens: 50, penalty: -1}"], "expected greater than 0"),
        (["grpo.reward={leave_out_truncated: true, truncated: -1.0}"], "has no effect with leave_out_truncated"),
        (["name=../elsewhere"], "expected letters, digits, `.`, `_` and `-`, with a letter or a digit first"),
        (["seed=true"], "expected a whole number"),
    ],
)
def test_conflicts_are_found_before_anything_starts(recipe: Path, overrides: list[str], said: str) -> None:
    assert said in refusal(recipe, overrides)


@pytest.mark.parametrize("way", ["vllm_colocate", "vllm_server"])
@pytest.mark.parametrize(
    "cut",
    [
        "grpo.top_p=0.8",
        "grpo.top_k=5",
        "grpo.training.repetition_penalty=1.1",
        "grpo.training.trl.min_p=0.1",
        "grpo.training.trl.vllm_structured_outputs_regex='a*'",
        "grpo.training.trl.generation_kwargs={presence_penalty: 0.1}",
        "grpo.training.trl.generation_kwargs={stop_token_ids: [9], logit_bias: {3: -1}}",
        "grpo.training.trl.generation_kwargs={min_tokens: 4}",
    ],
)
def test_rollouts_of_vllm_from_another_distribution_than_the_trained_one_are_refused(
    recipe: Path, way: str, cut: str
) -> None:
    said = refusal(recipe, [f"grpo.generation={way}", cut])
    assert "every importance ratio would be wrong" in said
    assert cut.partition("=")[0] in said
    assert load_recipe(recipe, [f"grpo.generation={way}", "grpo.temperature=0.6"]).grpo is not None
    kept = "grpo.training.trl.generation_kwargs={stop_token_ids: [9]}"
    assert load_recipe(recipe, [f"grpo.generation={way}", kept]).grpo is not None


def test_two_benchmarks_of_one_name_are_refused_before_anything_is_trained(recipe: Path, tmp_path: Path) -> None:
    names = []
    for folder, file in (("a", "set.jsonl"), ("b", "set.jsonl.gz"), ("c", "heldout.jsonl")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
        names.append(f"file:{tmp_path / folder / file}")
    for both in (names[:2], ["heldout", names[2]], names[:1] * 2):
        said = refusal(recipe, [f"evaluation.benchmarks=[{', '.join(both)}]"])
        assert "two benchmarks have the same name among" in said


def test_an_accelerate_configuration_for_other_processes_is_refused(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "fsdp.yaml"
    config.write_text("num_processes: 8\n")
    assert "num_processes there is 8, launch.processes here is 1" in refusal(
        recipe, [f"sft.launch.accelerate={config}"]
    )


def test_rollouts_by_transformers_are_refused_where_the_model_is_sharded(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "fsdp.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 1\n")
    assert "rollouts by transformers would wait" in refusal(recipe, [f"grpo.launch.accelerate={config}"])
    by_vllm = [f"grpo.launch.accelerate={config}", "grpo.generation=vllm_colocate", "grpo.curriculum={}"]
    assert load_recipe(recipe, by_vllm).stages == ("synth", "sft", "rates", "grpo", "evaluation", "report")
    config.write_text("distributed_type: MULTI_GPU\nnum_processes: 1\n")
    assert load_recipe(recipe, [f"grpo.launch.accelerate={config}"]).grpo is not None


def test_a_split_row_or_a_sharded_4_bit_model_is_refused(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "cp.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 4\nparallelism_config: {parallelism_config_cp_size: 4}\n")
    launch = [f"sft.launch={{accelerate: {config}, processes: 4}}"]
    assert "set sft.packing: false" in refusal(recipe, [*launch, "sft.packing=true"])
    assert "4-bit weights are not sharded" in refusal(recipe, [*launch, "sft.quantize=nf4", "sft.lora.rank=4"])
    assert "without context parallelism" in refusal(recipe, [f"grpo.launch.accelerate={config}"])


def test_processes_that_share_a_row_count_as_one_where_the_batch_is_divided(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "cp.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 8\nparallelism_config: {parallelism_config_cp_size: 4}\n")
    launch = [f"sft.launch={{accelerate: {config}, processes: 8}}", "sft.packing=false"]
    assert load_recipe(recipe, [*launch, "sft.batch=4"]).sft is not None
    assert "launch.processes (8) / 4 that share a row = 2" in refusal(recipe, [*launch, "sft.batch=3"])
    fewer = [f"sft.launch={{accelerate: {config}, processes: 2}}", "sft.packing=false"]
    said = refusal(recipe, fewer)
    assert "split over 4 processes there (parallelism_config_cp_size), which does not divide" in said


def test_muon_is_refused_where_deepspeed_would_step_flat_shards(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "zero.yaml"
    config.write_text("distributed_type: DEEPSPEED\nnum_processes: 1\n")
    muon = [f"sft.launch.accelerate={config}", "sft.optimizer.name=muon", "sft.training.learning_rate=1e-2"]
    assert "DeepSpeed steps flat shards" in refusal(recipe, muon)
    config.write_text("distributed_type: FSDP\nnum_processes: 1\n")
    assert load_recipe(recipe, muon).sft is not None


ACCELERATE = sorted((Path(__file__).parents[2] / "recipes" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.name)
def test_every_accelerate_configuration_that_is_shipped_is_one_that_accelerate_takes(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(path))  # refuses unknown keys
    options = vars(launch_command_parser().parse_args(["script"]))
    for section in ("fsdp_config", "deepspeed_config", "parallelism_config"):
        assert set(getattr(config, section, None) or {}) <= set(options), section
    assert config.num_processes % (config.num_machines or 1) == 0


def test_every_recipe_and_configuration_has_its_header_and_its_row() -> None:
    table = (Path(__file__).parents[2] / "recipes" / "README.md").read_text()
    for path in (*RECIPES, *ACCELERATE):
        text = path.read_text()
        head = text[: text.index("\n\n")] if path in RECIPES else text
        for part in ("# Purpose:", "# Hardware:", "# Command:", "# Override:", "# Expected:"):
            assert part in head, f"{path.name} lacks {part}"
        assert f"{path.parent.name}/{path.name})" in table or f"[`{path.name}`]" in table, path.name


def test_a_file_below_is_named_in_a_message_about_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("batch: 8", "batch: eight"))
    above = tmp_path / "above.yaml"
    above.write_text("extends: base.yaml\nseed: 1\n")
    assert f"{tmp_path}/base.yaml:8: sft.batch" in refusal(above)
    assert load_recipe(above, ["sft.batch=4"]).seed == 1


def test_null_takes_a_section_away(recipe: Path, tmp_path: Path) -> None:
    above = tmp_path / "above.yaml"
    above.write_text("extends: good.yaml\nname: above\ngrpo: null\nevaluation: {models: [base, sft]}\n")
    loaded = load_recipe(above, [])
    assert loaded.stages == ("synth", "sft", "evaluation", "report")
    assert loaded.evaluation is not None and loaded.evaluation.samples == 2


def test_extending_in_a_circle_or_a_missing_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("seed: 1\nextends: a.yaml\n")
    (tmp_path / "c.yaml").write_text("extends: nowhere.yaml\n")
    assert f"{tmp_path}/b.yaml:2: extends: a.yaml leads back to itself" in refusal(tmp_path / "a.yaml")
    assert "there is no file" in refusal(tmp_path / "c.yaml")
    assert "cannot be read: No such file" in refusal(tmp_path / "d.yaml")


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("seed: 1\nsft: [1\n")
    assert f"{path}:" in refusal(path) and "not valid YAML" in refusal(path)
    path.write_text("")
    assert "expected a recipe" in refusal(path)


RECIPES = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").rglob("*.yaml") if path.parent.name != "accelerate"
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_that_is_shipped_is_sound(path: Path) -> None:
    Path("recipes").symlink_to(Path(__file__).parents[2] / "recipes")  # which they name relative to the repository
    root, _, mistakes = examine_recipe(path, [])
    starts_from_a_run = [f"{name} = {json.dumps(item.value)}: there is no folder" for name, item in inputs_of(root)]
    not_here = [*starts_from_a_run, "needs test4.jsonl, test5.jsonl of livecodebench/code_generation_lite"]
    assert all(any(words in mistake for words in not_here) for mistake in mistakes), mistakes


def inputs_of(root: Located) -> list[tuple[str, Located]]:
    return [(f"inputs.{name}", item) for name, item in root.value.get("inputs", Located({}, root.place)).value.items()]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{wrong_rat: 0.1}", "synth.teacher.wrong_rat = 0.1: no such key; did you mean `wrong_rate`?"),
        ("{kind: opanai}", "synth.teacher: `kind` is 'opanai', expected one of"),
        ("{kind: openai, server: {base_url: 'http://x/v1', modl: a}}", "synth.teacher.server.modl"),
        ("{kind: openai, server: {base_url: 'http://x/v1'}}", "synth.teacher: server.model is needed"),
        (
            "{kind: vllm, model: a, sampling: {task: {}}}",
            "synth.teacher.sampling.task: no such key; did you mean `tasks`?",
        ),
        ("{kind: transformers, model: a, generation: {backend: vllm}}", "synth.teacher: `kind: transformers` decides"),
    ],
)
def test_a_mistake_in_a_teacher_of_any_kind_is_told_where_it_stands(tmp_path: Path, teacher: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nsynth:\n  teacher: {teacher}\n  splits: {{a: {{use: sft, tasks: 3}}}}\n")
    with pytest.raises(InputError) as error:
        load_recipe(path, [])
    assert f"recipe.yaml:3: {message}" in str(error.value)


def test_where_a_teachers_server_is_makes_no_other_result(tmp_path: Path) -> None:
    keys = []
    for host, model in (("x", "a"), ("y", "a"), ("x", "b")):
        path = tmp_path / "recipe.yaml"
        teacher = f"{{kind: openai, server: {{base_url: 'http://{host}/v1', model: {model}}}}}"
        path.write_text(f"name: x\nsynth:\n  teacher: {teacher}\n  splits: {{a: {{use: sft, tasks: 3}}}}\n")
        keys.append(stage_key(load_recipe(path, []), "synth"))
    assert keys[0] == keys[1] != keys[2]
