"""Paths of settings mean what a shell would make of them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluation.config import EvaluationSettings
from synth.published.config import ImportSettings
from xcoder_train.config import InputSettings, ModelSettings
from xcoder_train.recipe import Recipe


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", f"{tmp_path}/data")
    monkeypatch.delenv("NOWHERE", raising=False)
    return str(tmp_path)


@pytest.mark.parametrize(("written", "meant"), [("~/a", "/a"), ("$HOME/a", "/a"), ("${DATA}/a", "/data/a")])
def test_every_path_of_a_recipe_is_read_as_a_shell_reads_it(home: str, written: str, meant: str) -> None:
    place = home + meant
    assert Recipe(name="a", runs_dir=written).runs_dir == Path(place)  # type: ignore[arg-type]
    assert InputSettings(synth=written).synth == Path(place)  # type: ignore[arg-type]
    assert ModelSettings(path=written).path == place
    assert ImportSettings(source="x-coder-rl-40k", path=written).path == place
    given = ("heldout", f"file:{written}", f"evalplus:{written}", "livecodebench:v5")
    read = ("heldout", f"file:{place}", f"evalplus:{place}", "livecodebench:v5")
    assert EvaluationSettings(benchmarks=given).benchmarks == read


@pytest.mark.parametrize("path", ["$NOWHERE/a", "${NOWHERE}", "~nobody-of-that-name/a"])
def test_a_name_that_stands_for_nothing_is_a_mistake(home: str, path: str) -> None:
    with pytest.raises(ValidationError, match="names no (environment variable|home folder) that is known here"):
        InputSettings(synth=path)  # type: ignore[arg-type]


def test_a_path_without_such_names_stays_as_it_is(home: str) -> None:
    assert InputSettings(synth="runs/a~b").synth == Path("runs/a~b")  # type: ignore[arg-type]
    assert ModelSettings(path="Qwen/Qwen3-8B").path == "Qwen/Qwen3-8B"
