"""The typed training arguments are the installed TRL's, and it is asked about all others before a run begins."""

import ast
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
import trl
from transformers.trainer_utils import SaveStrategy, SchedulerType
from transformers.training_args import OptimizerNames

from xcoder_core.errors import InputError
from xcoder_train.grpo import arguments as grpo_arguments
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import stored_recipe
from xcoder_train.sft import trainer as sft_arguments
from xcoder_train.training import trl_arguments as shared_arguments
from xcoder_train.training.settings import GrpoTraining, SftTraining, TrainingSettings
from xcoder_train.training.trl_arguments import CONFIG, DECIDED, built, refusals_of_installed

TRAINERS: dict[Any, tuple[type[TrainingSettings], type]] = {
    "sft": (SftTraining, trl.SFTConfig),
    "grpo": (GrpoTraining, trl.GRPOConfig),
}
RECIPE = """\
name: tiny
model: {init: {context: 512}}
synth: {splits: {solved: {use: sft, tasks: 10}}}
sft:
  training:
    trl:
"""


def _defaults_of_trl(trainer: Any) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(TRAINERS[trainer][1]) if field.init}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_typed_argument_is_one_of_trl_and_has_its_default_but_where_the_docs_say_another(trainer: Any) -> None:
    ours, theirs = TRAINERS[trainer][0]().for_trl(), _defaults_of_trl(trainer)
    chosen = {
        "sft": {"save_total_limit": 2},
        "grpo": {
            "save_total_limit": 2,
            "learning_rate": 4e-7,
            "epsilon_high": 0.28,
            "vllm_importance_sampling_mode": "token_truncate",
        },
    }[trainer]
    assert {name: value for name, value in ours.items() if value != theirs[name]} == chosen
    not_trls = {"trl", "save_minutes", "vllm_geometric_bounds"}
    left_to_trl = TRAINERS[trainer][0].model_fields.keys() - ours.keys() - not_trls
    stated = {"num_train_epochs": 3, "vllm_gpu_memory_utilization": 0.3}  # in their docstrings
    assert all(theirs[name] == stated.get(name) for name in left_to_trl)


def test_allowed_values_are_among_those_of_the_installed_libraries() -> None:
    fields = SftTraining.model_fields
    for name, values in (
        ("optim", OptimizerNames),
        ("lr_scheduler_type", SchedulerType),
        ("save_strategy", SaveStrategy),
    ):
        assert set(get_args(fields[name].annotation)) <= {value.value for value in values}, name


@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_trl_takes_by_default_is_let_through(trainer: Any) -> None:
    plain = (str, int, float, type(None))
    others = _defaults_of_trl(trainer).keys() - DECIDED[trainer].keys() - TRAINERS[trainer][0].model_fields.keys()
    others -= {"pad_token", "vllm_importance_sampling_cap", "use_transformers_paged"}  # which TRL is about to drop
    values = {name: _defaults_of_trl(trainer)[name] for name in others}
    assert len(values) > 70
    given = {name: getattr(value, "value", value) for name, value in values.items() if isinstance(value, plain)}
    assert refusals_of_installed(trainer, given) == {}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_a_stage_decides_itself_is_refused_in_a_recipe(trainer: Any) -> None:
    functions = {
        node.name: node
        for module in (sft_arguments, grpo_arguments, shared_arguments)
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    given = next(
        node
        for node in ast.walk(functions[f"{trainer}_config"])
        if isinstance(node, ast.Dict) and "settings.training.for_trl()" in map(ast.unparse, node.values)
    )
    after = list(map(ast.unparse, given.values)).index("settings.training.for_trl()") + 1  # laid over `training`
    (both,) = (node for node in ast.walk(functions["decided_arguments"]) if isinstance(node, ast.Dict))
    names = {key.value for key in (*given.keys[after:], *both.keys) if isinstance(key, ast.Constant)}
    assert len(names) > 10
    assert names <= DECIDED[trainer].keys()


def test_what_only_trl_can_refuse_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(InputError, match="sft.training: trl.SFTConfig refuses it: .*dataloader_prefetch_factor"):
        built(trl.SFTConfig, "sft", {"dataloader_prefetch_factor": 3, "use_cpu": True, "bf16": False})


def test_the_trainers_are_told_apart() -> None:
    assert refusals_of_installed("grpo", {"delta": 2.0}) == {}
    assert "is not an argument of trl.SFTConfig" in refusals_of_installed("sft", {"delta": 2.0})["delta"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {"dataloader_num_worker": 2, "dataloader_num_workers": "two", "neftune_noise_alpha": 5},
            [
                "7: sft.training.trl.dataloader_num_worker = 2: is not an argument of trl.SFTConfig; did you mean "
                "`dataloader_num_workers`?",
                '8: sft.training.trl.dataloader_num_workers = "two": expected a valid integer',
            ],
        ),
        pytest.param(
            {"dataloader_prefetch_factor": 3},
            ["6: sft.training.trl: trl.SFTConfig refuses it: --dataloader_prefetch_factor can only be set when"],
            marks=pytest.mark.slow,
        ),
        pytest.param({"dataloader_prefetch_factor": 3, "dataloader_num_workers": 1}, [], marks=pytest.mark.slow),
    ],
)
def test_trl_is_asked_before_anything_starts(written: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    """The recipe is all that is read: no model, no folder of a run."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE + "".join(f"      {name}: {json.dumps(value)}\n" for name, value in written.items()))
    if not said:
        loaded = load_recipe(path)
        assert loaded.sft is not None and written.items() <= loaded.sft.training.for_trl().items()
        return
    with pytest.raises(InputError) as refused:
        load_recipe(path)
    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert line.startswith(f"  {path}:{words}"), line


@pytest.mark.slow
def test_trl_is_asked_without_what_a_launcher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two processes would else wait for the second, which asks nothing."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE + "      neftune_noise_alpha: 4\n")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    assert load_recipe(path).sft is not None
    path.write_text(RECIPE + "      neftune_noise_alpha: four\n")
    with pytest.raises(InputError, match="expected a valid number"):
        load_recipe(path)
    monkeypatch.setenv("RANK", "1")
    assert load_recipe(path).sft is not None


def test_every_configuration_that_is_named_is_trls() -> None:
    assert {trainer: f"trl.{config.__name__}" for trainer, (_, config) in TRAINERS.items()} == CONFIG


def test_arguments_that_an_earlier_version_stored_are_read_where_they_stand_today(tmp_path: Path) -> None:
    """None is dropped: a result that was made with it would be taken for one that was made without."""
    before = {"learning_rate": 1e-3, "max_steps": 4, "neftune_noise_alpha": 5, "optim": "lion_32bit"}
    stored = stored_recipe({"name": "tiny", "sft": {"batch": 4, "training": before}}, tmp_path)
    assert stored.sft is not None
    assert stored.sft.training.trl == {"neftune_noise_alpha": 5, "optim": "lion_32bit"}
    assert before.items() <= stored.sft.training.for_trl().items()


def test_a_whole_number_is_stored_as_it_was_written() -> None:
    """Results lie below keys that are hashes of what was written."""
    written = {"num_train_epochs": 2, "save_steps": 2, "warmup_steps": 0.05}
    assert json.loads(SftTraining(**written).model_dump_json(exclude_defaults=True)) == written
    assert "2.0" not in SftTraining(**written).model_dump_json()


def test_trl_weighs_the_tokens_that_a_mask_of_ours_keeps() -> None:
    settings = GrpoTraining(vllm_importance_sampling_mode="geometric_mask", vllm_geometric_bounds=(0.98, 1.03))
    assert settings.geometric_bounds == (0.98, 1.03)
    assert settings.for_trl() == GrpoTraining().for_trl()
    assert GrpoTraining(vllm_importance_sampling_mode="sequence_mask").geometric_bounds is None
