"""Every private name of TRL and transformers that the product uses is listed with its reason, and is there."""

import ast
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from xcoder_core.errors import EnvironmentLacks
from xcoder_train.training import start
from xcoder_train.training.settings import TrainingSettings
from xcoder_train.training.start import PRIVATE_NAMES, PrivateName, begin_training, missing, require_private_names

ROOT = Path(__file__).parents[2]
THEIRS = ("trl", "transformers")


@pytest.mark.parametrize("row", PRIVATE_NAMES, ids=lambda row: f"{row.owner} {row.name}")
def test_the_installed_versions_have_the_private_name(row: PrivateName) -> None:
    assert list(missing([row])) == []


def test_a_version_that_lacks_one_is_refused_with_its_name_and_use(monkeypatch: pytest.MonkeyPatch) -> None:
    require_private_names()
    gone = PrivateName("trl:GRPOTrainer", "_gone", "overridden: for this test")
    elsewhere = PrivateName("trl.trainer.gone", "name", "called")
    monkeypatch.setattr(start, "PRIVATE_NAMES", (*PRIVATE_NAMES, gone, elsewhere))
    with pytest.raises(EnvironmentLacks, match=r"trl.GRPOTrainer has no _gone \(overridden: for this test\); trl.tr"):
        begin_training(TrainingSettings())


def test_no_private_name_is_used_that_is_not_listed() -> None:
    listed = {row.name for row in PRIVATE_NAMES}
    folders = ("xcoder_core", "xcoder_train", "synth", "evaluation")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    used = {(name, file.name) for file in files for name in private_names_in(file.read_text(encoding="utf-8"))}
    assert {name for name, _ in used} >= {"_compute_loss", "_total_train_tokens", "split_tensor_dict"}
    assert not {pair for pair in used if pair[0] not in listed}


def test_a_private_name_is_noticed_however_it_is_used() -> None:
    source = """
from transformers.trainer_utils import helper
from trl import GRPOTrainer

class Trainer(GRPOTrainer):
    def _prepare_inputs(self, batch):
        self._own = super()._made_up(batch)
        return self._state_of_theirs, self._own
"""
    assert set(private_names_in(source)) == {"helper", "_prepare_inputs", "_made_up", "_state_of_theirs"}


def private_names_in(source: str) -> Iterator[str]:
    """What a module imports from below their packages, and the underscored names that it has not made itself."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    theirs = [node for node in imports if str(node.module).split(".")[0] in THEIRS]
    if not theirs:
        return
    classes = {alias.name: f"{node.module}:{alias.name}" for node in theirs for alias in node.names}
    for node in theirs:
        if "." in str(node.module):
            yield from (alias.name for alias in node.names)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)]
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    made |= {each.attr for each in attributes if isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self"}
    yield from (each.attr for each in attributes if isinstance(each.value, ast.Call) or each.attr not in made)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [resolve_name(classes[base.id]) for base in node.bases if getattr(base, "id", "") in classes]
            functions = [each.name for each in node.body if isinstance(each, ast.FunctionDef) and is_private(each.name)]
            yield from (name for name in functions if any(hasattr(base, name) for base in bases))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")
