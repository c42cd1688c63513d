"""What of others is not obeyed: code that comes with a model, chat templates, weights that are pickles."""

import ast
import json
import os
import re
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from xcoder_core.errors import InputError
from xcoder_core.models.chat import prompt_token_ids
from xcoder_core.models.loading import load_model, load_tokenizer, save_model, train_tokenizer
from xcoder_core.models.settings import ModelSettings
from xcoder_train.plan.make import make_plan
from xcoder_train.recipe.reading import load_recipe

PROJECT = Path(__file__).parents[2]
SHIPPED = ("xcoder_core", "xcoder_train", "reward", "synth", "evaluation")


def test_trust_remote_code_is_said_wherever_something_is_loaded_and_true_nowhere() -> None:
    loads = 0
    for file in (file for folder in SHIPPED for file in (PROJECT / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for node in (
            ast.walk(ast.parse(text))
            if re.search(r"from_pretrained|LLM\(|pickle|torch\.load|load_dataset|trust_remote_code", text)
            else ()
        ):
            if not isinstance(node, ast.Call):
                continue
            said = {word.arg: word.value for word in node.keywords}
            called = ast.unparse(node.func)
            if called.startswith("Auto") and called.endswith(".from_pretrained") or called in ("LLM", "vllm.LLM"):
                loads += 1
                assert "trust_remote_code" in said, f"{file}:{node.lineno}"
            value = said.get("trust_remote_code")
            assert not (isinstance(value, ast.Constant) and value.value is True), f"{file}:{node.lineno}"
            assert called not in ("pickle.load", "pickle.loads", "torch.load", "load_dataset"), f"{file}:{node.lineno}"
    assert loads >= 4
    assert ModelSettings().trust_remote_code is False


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A model that brings its code along, and the file that this code makes."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, mark = tmp_path / "model", tmp_path / "it-ran"
    folder.mkdir()
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel", "AutoTokenizer": ["own.T", None]}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": classes}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": classes}))
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    return folder, mark


def test_code_that_comes_with_a_model_runs_only_where_the_recipe_says_so(own_code: tuple[Path, Path]) -> None:
    folder, mark = own_code
    for load in (load_model, load_tokenizer):
        with pytest.raises(InputError, match="trust_remote_code"):
            load(folder)
        assert not mark.exists()
    with pytest.raises(InputError, match="OwnConfig"):  # it holds no class at all; but by then it has run
        load_model(folder, trust_remote_code=True)
    assert mark.exists()


def test_a_recipe_that_trusts_a_models_code_says_so_in_its_plan_and_its_record() -> None:
    quickstart, override = PROJECT / "recipes" / "laptop" / "quickstart.yaml", "model.trust_remote_code=true"
    assert load_recipe(quickstart, [override]).model_dump(mode="json")["model"]["trust_remote_code"] is True
    assert "code that comes with the model will run" in make_plan(quickstart, [override]).text
    assert "code that comes with the model" not in make_plan(quickstart, []).text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound model folder, to be made hostile."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    tokenizer = train_tokenizer(["add two numbers"] * 20, 300)
    model = Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=1, vocab_size=len(tokenizer)))
    save_model(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


class RunsACommand:
    """Unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_weights_that_are_a_pickle_are_not_loaded(folder: Path) -> None:
    mark, weights = folder / "it-ran", folder / "pytorch_model.bin"
    (folder / "model.safetensors").unlink()
    torch.save({"w": RunsACommand(f"touch {mark}")}, weights)
    with pytest.raises(InputError, match="safetensors"):
        load_model(folder)
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": weights.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))  # which leads to it all the same
    with pytest.raises(InputError, match="Weights only load failed"):
        load_model(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder), "r": 2, "target_modules": ["q_proj"]})
    )
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load_model(folder)
    assert not mark.exists()
    torch.load(folder / "adapter_model.bin", weights_only=False)  # the bait is live
    assert mark.exists()


def test_a_models_config_brings_no_code_by_the_name_of_an_attention(folder: Path) -> None:
    from synth.language_model.config import LocalTeacherSettings
    from synth.language_model.teacher import open_teacher

    config = json.loads((folder / "config.json").read_text())
    for key in ("_attn_implementation", "attn_implementation", "_attn_implementation_internal"):
        (folder / "config.json").write_text(json.dumps(config | {key: "evil/kernel"}))
        assert load_model(folder).config._attn_implementation == "sdpa"
        teacher: Any = open_teacher(LocalTeacherSettings(kind="transformers", model=str(folder)), seed=0)
        assert teacher.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "hostile",
    [
        {"hidden_act": "__import__"},
        {"dtype": "os.system"},
        {"model_type": "no-such"},
        {"vocab_size": -1},
        {"num_hidden_layers": "many"},
    ],
)
def test_a_config_that_makes_no_model_is_the_folders_fault_and_not_ours(folder: Path, hostile: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | hostile))
    with pytest.raises(InputError, match="cannot load the model from"):
        load_model(folder)


def test_a_chat_template_reaches_nothing_beyond_the_messages() -> None:
    tokenizer = train_tokenizer(["add two numbers"] * 20, 300)
    tokenizer.chat_template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InputError, match="is unsafe"):
        prompt_token_ids(tokenizer, [{"role": "user", "content": "add"}])


def test_every_dependency_has_bounds_that_hold_here() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    wanted = [Requirement(text) for group in groups for text in group]
    assert len(wanted) > 30
    for requirement in wanted:
        operators = {one.operator for one in requirement.specifier}
        assert operators & {">=", "=="} and operators & {"<", "<=", "=="}, f"{requirement} is bounded on one side"
        with suppress(metadata.PackageNotFoundError):  # of the extras, few are installed everywhere
            assert requirement.specifier.contains(metadata.version(requirement.name)), requirement
