"""Settings that do not fit together: nothing starts that training would refuse later."""

from pathlib import Path

import pytest

from tests.xcoder_train.recipe.small import refusal
from xcoder_train.recipe.reading import load_recipe


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
