"""What of others is not obeyed: code that comes with a model, chat templates, weights that are pickles."""

import ast
import json
import re
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from xcoder_train.config import ModelSettings
from xcoder_train.core.errors import InputError
from xcoder_train.core.generation.chat import prompt_token_ids
from xcoder_train.model import load_model, load_tokenizer
from xcoder_train.plan import make_plan
from xcoder_train.plan_text import show_plan
from xcoder_train.recipe import load_recipe
from xcoder_train.tokenizer import train_tokenizer

PROJECT = Path(__file__).parents[2]
SHIPPED = ("xcoder_train", "reward", "synth", "evaluation")


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
            load(folder, ModelSettings(path=str(folder)))
        assert not mark.exists()
    with suppress(AttributeError):  # it holds no class at all; but by then it has run
        load_model(folder, ModelSettings(path=str(folder), trust_remote_code=True))
    assert mark.exists()


def test_a_recipe_that_trusts_a_models_code_says_so_in_its_plan_and_its_record() -> None:
    quickstart, override = PROJECT / "recipes" / "laptop" / "quickstart.yaml", "model.trust_remote_code=true"
    assert load_recipe(quickstart, [override]).model_dump(mode="json")["model"]["trust_remote_code"] is True
    assert "code that comes with the model will run" in show_plan(make_plan(quickstart, [override]))
    assert "code that comes with the model" not in show_plan(make_plan(quickstart, []))


def test_weights_that_are_a_pickle_are_not_loaded(tmp_path: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=1, vocab_size=16))
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load_model(tmp_path, ModelSettings(path=str(tmp_path)))


def test_a_chat_template_reaches_nothing_beyond_the_messages() -> None:
    from jinja2.exceptions import SecurityError

    tokenizer = train_tokenizer(["add two numbers"] * 20, 300)
    tokenizer.chat_template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(SecurityError):
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
