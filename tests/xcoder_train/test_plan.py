"""The plan's arithmetic, its text, and the estimates behind it."""

import json
import os
from pathlib import Path

import pytest

from xcoder_core.errors import EnvironmentLacks, InputError
from xcoder_core.models.folder import KNOWN, model_shape
from xcoder_core.models.settings import InitSettings, ModelSettings
from xcoder_train.grpo.memory import estimate_grpo
from xcoder_train.grpo.settings import GrpoSettings
from xcoder_train.plan.make import make_plan
from xcoder_train.plan.sft import estimate_sft
from xcoder_train.runs.launch import stage_command, stage_environment, take_own_gpus
from xcoder_train.sft.settings import SftSettings
from xcoder_train.training.arithmetic import peak_flops
from xcoder_train.training.launch_settings import LaunchSettings
from xcoder_train.training.memory import MemoryEstimate
from xcoder_train.training.settings import LoraSettings

FULL = """\
name: paper
model: {path: Qwen/Qwen2.5-Coder-7B-Instruct}
synth:
  candidates_per_task: 8
  inputs_per_task: 15
  splits: {a: {use: sft, tasks: 1000}, b: {use: rl, tasks: 640}, c: {use: evaluation, tasks: 50}}
sft: {batch: 128, training: {num_train_epochs: 8}}
grpo: {training: {num_train_epochs: 2}, launch: {processes: 8}}
evaluation: {samples: 4, k: [1, 4], sampling: {max_new_tokens: 30000}}
"""
ACCELERATE = Path(__file__).parents[2] / "recipes" / "accelerate"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(FULL)
    return path


def test_the_arithmetic_of_every_stage(recipe: Path) -> None:
    stages = make_plan(recipe, []).figures["stages"]
    assert stages["synth"]["executions"] == (1000 + 640 + 50) * 8 * 15
    assert stages["sft"]["examples"] == 8000
    assert stages["sft"]["steps"] == 8000 * 8 // 128
    assert stages["sft"]["rows_per_step_at_the_papers_packing"] == 71
    over_8 = make_plan(recipe, ["sft.launch.processes=8"]).figures["stages"]["sft"]
    assert over_8["rows_per_step_at_the_papers_packing"] == 72  # as the stage divides them: 9 on each
    assert stages["grpo"]["completions_per_step"] == 1024
    assert stages["grpo"]["micro_batches_per_process"] == 1024 // (8 * 8)
    assert stages["grpo"]["steps"] == 640 * 2 // 128
    assert stages["grpo"]["longest_sequence"] == 2500 + 30196 <= stages["grpo"]["context"]
    assert stages["evaluation"]["completions"] == 50 * 4 * 3


def test_steps_of_grpo_are_whole_ones_and_a_set_of_rollouts_may_serve_several(recipe: Path) -> None:
    grpo = make_plan(recipe, ["grpo.prompts_per_step=256"]).figures["stages"]["grpo"]
    assert grpo["steps"] == 2 * (640 // 256)  # what does not fill a step is left out of an epoch
    twice = make_plan(recipe, ["grpo.prompts_per_step=256", "grpo.training.num_iterations=2"]).figures["stages"]["grpo"]
    assert (twice["steps"], twice["completions"]) == (2 * grpo["steps"], grpo["completions"])


def test_several_updates_share_the_rollouts_that_are_sampled_at_once(recipe: Path) -> None:
    plan = make_plan(recipe, ["grpo.prompts_per_step=64", "grpo.updates_per_rollouts=4"])
    grpo = plan.figures["stages"]["grpo"]
    assert (grpo["prompts_per_step"], grpo["completions_per_step"]) == (64, 512)
    assert grpo["steps"] == 2 * 4 * (640 // 256)
    assert grpo["completions"] == 2 * 2 * 256 * 8 == grpo["steps"] * 512
    assert "2,048 completions are sampled at once, for 4 steps" in plan.text
    uneven = make_plan(recipe, ["grpo.updates_per_rollouts=4", "grpo.training.max_steps=270"]).figures["stages"]["grpo"]
    assert uneven["completions"] == 68 * 512 * 8  # the last set serves two steps
    with pytest.raises(InputError, match="a set of 768 prompts cannot be filled from 640 tasks"):
        make_plan(recipe, ["grpo.updates_per_rollouts=6"])
    small = ["model={path: null, init: {context: 512}}", "grpo.rollout_batch=100000", "evaluation=null"]
    one, four = (
        make_plan(recipe, [*small, "grpo.prompts_per_step=64", f"grpo.updates_per_rollouts={updates}"]).figures[
            "stages"
        ]["grpo"]["memory"]["key_value_cache"]
        for updates in (1, 4)
    )
    assert four == 4 * one > 0


def test_shorter_rollouts_at_first_are_fewer_tokens(recipe: Path) -> None:
    plan = make_plan(recipe, ["grpo.lengths=[[0, 16000], [4, 30000]]", "grpo.training.num_iterations=2"])
    grpo = plan.figures["stages"]["grpo"]
    assert grpo["steps"] == 20  # ten sets, of which the first two are made before step 4
    assert grpo["new_tokens_at_most"] == 1024 * (2 * 16000 + 8 * 30000)
    assert "16,000 from step 0 on, 30,000 from step 4 on" in plan.text


def test_a_recipe_that_keeps_every_checkpoint_has_no_bound_on_its_disk(recipe: Path) -> None:
    stages = make_plan(recipe, ["sft.training.save_total_limit=null"]).figures["stages"]
    assert stages["sft"]["disk"] == {} and stages["grpo"]["disk"]


def test_the_plan_fits_80_columns_and_writes_nothing(recipe: Path) -> None:
    plan = make_plan(Path(recipe.name), [])
    lines = plan.text.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("grpo") and "to do" in line for line in lines)
    assert "7.62 B parameters" in plan.text
    assert json.loads(json.dumps(plan.figures)) == plan.figures
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("name", "parameters"), [("Qwen/Qwen2.5-Coder-7B-Instruct", 7_615_616_512), ("Qwen/Qwen3-8B-Base", 8_190_735_360)]
)
def test_known_models_have_their_published_size(name: str, parameters: int) -> None:
    assert KNOWN[name].parameters == parameters


@pytest.mark.parametrize("name", ["some/model", "mixture-of-experts"])
def test_a_model_whose_size_is_not_known_is_planned_without_it_and_says_what_would_be_known(
    name: str, recipe: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    if name != "some/model":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = AutoConfig.for_model("qwen3_moe", vocab_size=300, num_experts=4, moe_intermediate_size=8, **sizes)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
        (tmp_path / name / "tokenizer.json").write_text("{}")
        (tmp_path / name / "chat_template.jinja").write_text("{{ messages }}")
    plan = make_plan(recipe, [f"model.path={name if name == 'some/model' else tmp_path / name}"])
    assert plan.figures["stages"]["sft"]["memory"] is None and plan.figures["stages"]["sft"]["steps"] == 500
    assert "no memory, disk or hours below; known without a download are" in " ".join(plan.text.split())


def test_a_local_folder_is_planned_from_its_config(recipe: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        "llama", num_key_value_heads=2, vocab_size=300, max_position_embeddings=65536, **sizes
    )
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "llama")
    (tmp_path / "llama" / "tokenizer.json").write_text("{}")
    (tmp_path / "llama" / "chat_template.jinja").write_text("{{ messages }}")
    planned = make_plan(recipe, [f"model.path={tmp_path / 'llama'}"])
    assert planned.figures["model"]["parameters"] == model.num_parameters()
    assert planned.figures["stages"]["sft"]["memory"]["weights"] == 4 * model.num_parameters()
    assert (planned.figures["model"]["context"], planned.figures["stages"]["grpo"]["context"]) == (65536, 65536)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3"])
def test_the_parameter_count_is_that_of_the_built_model(architecture: str, tie: bool) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    init = InitSettings(architecture=architecture, kv_heads=2, tie_embeddings=tie)  # type: ignore[arg-type]
    shape = model_shape(ModelSettings(init=init))
    assert shape is not None
    config = AutoConfig.for_model(
        architecture,
        hidden_size=init.hidden_size,
        intermediate_size=init.intermediate_size,
        num_hidden_layers=init.layers,
        num_attention_heads=init.heads,
        num_key_value_heads=init.kv_heads,
        head_dim=init.hidden_size // init.heads,
        vocab_size=init.vocabulary,
        tie_word_embeddings=tie,
    )
    built = AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in built.parameters()) == shape.parameters


def test_adapters_are_counted_as_peft_builds_them() -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    lora = LoraSettings(rank=4, targets=("q_proj", "k_proj", "o_proj", "down_proj"))
    shape = model_shape(ModelSettings(init=InitSettings(kv_heads=2)))
    assert shape is not None
    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=960,
        tie_word_embeddings=True,
    )
    adapted = get_peft_model(
        AutoModelForCausalLM.from_config(config),
        LoraConfig(r=4, target_modules=list(lora.targets), task_type="CAUSAL_LM"),
    )
    assert lora.parameters(shape) == adapted.get_nb_trainable_parameters()[0]


def test_memory_is_that_of_float32_adam_and_falls_with_adapters_and_shards() -> None:
    shape = KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"]
    full = estimate_sft(shape, SftSettings(max_length=8192), on_gpu=True)
    states = full.weights + full.gradients + full.optimizer
    assert states == 16 * shape.parameters
    adapted = estimate_sft(shape, SftSettings(max_length=8192, lora=LoraSettings()), on_gpu=True)
    assert adapted.weights + adapted.gradients + adapted.optimizer < states / 5
    assert _launched("fsdp2.yaml").optimizer == full.optimizer // 8
    quantised = SftSettings(max_length=8192, lora=LoraSettings(), quantize="nf4")
    assert 5 < estimate_sft(shape, quantised, on_gpu=True).weights / 2**30 < 6  # of 14.2 GiB in 16 bits
    rollouts = estimate_grpo(shape, GrpoSettings(rollout_batch=1), on_gpu=True)
    assert rollouts.key_value_cache == (2500 + 30196) * 2 * 28 * 4 * 128 * 2


def test_a_kl_term_holds_a_second_model_unless_adapters_can_be_switched_off() -> None:
    shape = KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"]

    def weights(beta: float, lora: LoraSettings | None) -> int:
        return estimate_grpo(shape, GrpoSettings(lora=lora, training={"beta": beta}), on_gpu=True).weights

    assert weights(0.0, None) == 4 * shape.parameters
    assert weights(0.01, None) == 8 * shape.parameters
    assert weights(0.01, LoraSettings()) == weights(0.0, LoraSettings())


def test_updates_that_share_rollouts_make_no_more_of_them(recipe: Path) -> None:
    once = make_plan(recipe, []).figures["stages"]["grpo"]
    twice = make_plan(recipe, ["grpo.training.num_iterations=2"]).figures["stages"]["grpo"]
    assert (once["steps"], twice["steps"]) == (10, 20)  # TRL's epoch has each step's rollouts twice
    assert once["completions"] == twice["completions"] == 10 * 1024
    stopped = make_plan(recipe, ["grpo.training={num_iterations: 2, max_steps: 5}"]).figures["stages"]["grpo"]
    assert (stopped["steps"], stopped["completions"]) == (5, 3 * 1024)


def test_a_step_that_replaces_groups_is_planned_at_the_most_that_it_may_sample(recipe: Path) -> None:
    dynamic = make_plan(recipe, ["grpo.dynamic_sampling={rounds: 2, oversample: 1.5}"])
    assert dynamic.figures["stages"]["grpo"]["completions"] == 3 * 10 * 1024
    assert "10: at most 30,720 completions" in dynamic.text


def _launched(configuration: str) -> MemoryEstimate:
    launch = LaunchSettings(processes=8, accelerate=ACCELERATE / configuration)
    settings = SftSettings(max_length=8192, launch=launch)
    return estimate_sft(KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"], settings, on_gpu=True)


def test_memory_is_divided_as_the_accelerate_configuration_says() -> None:
    parameters = KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"].parameters
    alone = estimate_sft(KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"], SftSettings(max_length=8192), on_gpu=True)
    assert _launched("ddp.yaml") == alone  # every process holds the whole model
    sharded, offloaded, split = (
        _launched(f"{name}.yaml") for name in ("zero3", "zero3-offload", "fsdp2-context-parallel")
    )
    assert (sharded.weights, sharded.host) == (4 * parameters // 8, 0)
    # DeepSpeed's own reckoning (zero/stage3.py, estimate_zero3_model_states_mem_needs) has 18 bytes a parameter too.
    assert (offloaded.total, offloaded.host) == (offloaded.activations, 18 * parameters)
    assert split.activations == sharded.activations // 4


def test_hours_and_price_follow_from_a_stated_speed_or_share_of_the_peak(recipe: Path) -> None:
    assert make_plan(recipe, []).figures["stages"]["sft"]["hours"] is None
    stated = make_plan(recipe, ["sft.launch.hardware={tokens_per_second: 5000, price_per_hour: 2.5}"]).figures[
        "stages"
    ]["sft"]
    assert stated["hours"]["device_hours"] == stated["tokens_at_most"] / 5000 / 3600
    assert stated["hours"]["price"] == 2.5 * stated["hours"]["device_hours"]
    rollouts = make_plan(recipe, ["grpo.launch.hardware.tokens_per_second=2000"]).figures["stages"]["grpo"]
    assert rollouts["hours"]["wall_hours"] == rollouts["new_tokens_at_most"] / 2000 / 3600 / 8
    share = ["sft.launch.hardware={peak_tflops: 989, mfu: 0.4}", "sft.launch.processes=8", "sft.max_length=8192"]
    hours = make_plan(recipe, share).figures["stages"]["sft"]["hours"]
    # 6 x 7.07e9 multiplied parameters, and 12 x 28 layers x 3584 channels x 8192 / 2 positions of attention
    assert hours["tokens_per_second"] == pytest.approx(0.4 * 989e12 / (6 * 7.0706e9 + 4.933e9), rel=1e-3)
    assert hours["wall_hours"] == hours["device_hours"] / 8
    assert "(40% of 989 TFLOP/s)" in " ".join(make_plan(recipe, share).text.split())


def test_judge_and_disk_follow_from_executions_and_states(recipe: Path) -> None:
    stages = make_plan(recipe, ["grpo.launch.hardware.tokens_per_second=2000", "grpo.reward.tests=5"]).figures["stages"]
    assert stages["synth"]["judge_cores_for_a_day"] == 1  # 202,800 executions of 0.1 s are 5.6 core-hours
    judge = stages["grpo"]["judge"]
    assert judge["executions"] == 10 * 1024 * 5 and judge["core_hours"] == pytest.approx(51200 * 0.1 / 3600)
    assert judge["seconds_per_step"] == pytest.approx(1024 * 30196 / 2000 / 8)
    assert judge["cores"] == 6  # 512 core-seconds in a twentieth of 1,932.5 s
    assert make_plan(recipe, []).figures["stages"]["grpo"]["judge"]["tests"] == 15
    parameters = KNOWN["Qwen/Qwen2.5-Coder-7B-Instruct"].parameters
    assert stages["sft"]["disk"] == {
        "token ids": 8000 * 32768 * 8 * 3, "3 checkpoints": 3 * 12 * parameters, "model": 4 * parameters
    }  # fmt: skip
    adapted = make_plan(recipe, ["grpo.lora={}", "grpo.training.save_strategy=no"]).figures["stages"]["grpo"]["disk"]
    assert adapted.keys() == {"rollouts", "model"} and adapted["rollouts"] == 10 * 1024 * 30196 * 4
    assert stages["evaluation"]["disk"] == 50 * 4 * 3 * 30000 * 4


def test_several_machines_are_left_to_the_scheduler(recipe: Path, tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 16\nnum_machines: 2\n")
    launch = f"sft.launch={{nodes: 2, processes: 16, accelerate: {config}}}"
    assert make_plan(recipe, [launch]).figures["stages"]["sft"]["command"].endswith("| bash")
    with pytest.raises(EnvironmentLacks, match="are started by a scheduler"):
        stage_command(LaunchSettings(nodes=2, processes=16, accelerate=config), "sft", [], True)


def test_muon_over_shards_is_warned_of(recipe: Path) -> None:
    sharded = [f"sft.launch={{accelerate: {ACCELERATE / 'fsdp2.yaml'}, processes: 8}}"]
    muon = ["sft.optimizer.name=muon", "sft.training.learning_rate=1e-2"]
    plan = make_plan(recipe, [*muon, *sharded])
    assert "bfloat16" in plan.figures["stages"]["sft"]["warning"] and "warning" in plan.text
    for one in (muon, sharded):
        assert "warning" not in make_plan(recipe, one).figures["stages"]["sft"]


def test_a_model_is_not_sharded_over_a_cpu(tmp_path: Path) -> None:
    config = tmp_path / "fsdp.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 2\n")
    with pytest.raises(EnvironmentLacks, match="shards the model over GPUs"):
        stage_command(LaunchSettings(processes=2, accelerate=config), "sft", [], False)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("NVIDIA H200", 989.4), ("NVIDIA H20", 148.0), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756.5)],
)
def test_a_device_is_known_by_its_whole_name(name: str, tflops: float) -> None:
    assert peak_flops(name) == tflops * 1e12
    assert peak_flops("NVIDIA H2") is None


def test_stages_are_started_as_their_launch_says() -> None:
    def started(has_gpu: bool, **launch: object) -> str:
        return " ".join(stage_command(LaunchSettings.model_validate(launch), "sft", ["r.yaml"], has_gpu)[1:])

    assert started(True) == "-m xcoder_train.sft r.yaml"
    assert "torch.distributed.run --standalone --nproc_per_node 2 -m xcoder_train.sft" in started(False, processes=2)
    assert "launch --multi_gpu --num_processes 2 -m xcoder_train.sft" in started(True, processes=2)
    with_config = started(True, processes=8, accelerate="fsdp2.yaml")
    assert "launch --config_file fsdp2.yaml --num_processes 8 -m xcoder_train.sft r.yaml" in with_config


@pytest.mark.parametrize(("rank", "shown", "own"), [(0, "4,5,6,7", "4,5"), (1, "4,5,6,7", "6,7")])
def test_each_process_of_a_node_sees_its_own_gpus(
    monkeypatch: pytest.MonkeyPatch, rank: int, shown: str, own: str
) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / f"nvidia{number}" for number in range(8)]))
    for name, value in {"CUDA_VISIBLE_DEVICES": shown, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(InputError, match=r"2 processes of 3 GPU\(s\) each need 6; this machine shows 4"):
        take_own_gpus(3)
    take_own_gpus(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    take_own_gpus(8)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own


def test_a_recipe_decides_the_threads_of_a_stage_and_how_they_wait() -> None:
    chosen = stage_environment(LaunchSettings(threads=2, environment={"GOMP_SPINCOUNT": "9"}))
    assert (chosen["OMP_NUM_THREADS"], chosen["GOMP_SPINCOUNT"]) == ("2", "9")
