"""Paths of settings mean what a shell would make of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluation.config import EvaluationSettings
from synth.published.files import ImportSettings
from xcoder_core.errors import InputError
from xcoder_core.models.settings import ModelSettings
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.recipe.settings import InputSettings


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


def test_what_a_recipe_extends_is_read_as_a_shell_reads_it(home: str, tmp_path: Path) -> None:
    sections = "synth:\n  splits: {a: {use: sft, tasks: 4, depth: [1]}}\n"
    (tmp_path / "base.yaml").write_text(f"seed: 5\nruns_dir: ~/runs\n{sections}")
    recipe = tmp_path / "below" / "recipe.yaml"
    recipe.parent.mkdir()
    for written in ("~/base.yaml", "$HOME/base.yaml", "../base.yaml"):
        recipe.write_text(f"extends: {written}\n")
        loaded = load_recipe(recipe)
        assert (loaded.seed, loaded.runs_dir) == (5, tmp_path / "runs")
    recipe.write_text("extends: $NOWHERE/base.yaml\n")
    with pytest.raises(InputError, match=r"recipe.yaml:1: extends: \$NOWHERE names no environment variable"):
        load_recipe(recipe)


def test_paths_of_the_command_line_are_read_as_those_of_a_recipe(tmp_path: Path) -> None:
    """Which a shell has not replaced: it leaves `--output=~/a` as it is."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    (home / "recipe.yaml").write_text("synth:\n  splits: {a: {use: sft, tasks: 4, depth: [1]}}\n")
    test = {"input": "", "expected": "1"}
    (home / "p.jsonl").write_text(json.dumps({"id": "a", "code": "print(1)", "tests": [test]}) + "\n")

    def xcoder(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xcoder_train.cli", *arguments]
        environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)

    done = xcoder("judge", "$HOME/p.jsonl", "--workers=1", "--output=~/v.jsonl")
    assert done.returncode == 0 and '"AC"' in (home / "v.jsonl").read_text(), done.stderr
    assert f"{home}/runs/recipe" in xcoder("plan", "~/recipe.yaml", "runs_dir=~/runs").stdout
    assert f"there is no run in {home}/runs" in xcoder("trace", "abc", "~/runs").stderr
    refused = xcoder("judge", "~/p.jsonl", "--output=$NOWHERE/v.jsonl")
    assert refused.returncode == 2 and "$NOWHERE names no environment variable" in " ".join(refused.stderr.split())
    assert list(here.iterdir()) == []


def test_a_path_without_such_names_stays_as_it_is(home: str) -> None:
    assert InputSettings(synth="runs/a~b").synth == Path("runs/a~b")  # type: ignore[arg-type]
    assert ModelSettings(path="Qwen/Qwen3-8B").path == "Qwen/Qwen3-8B"
