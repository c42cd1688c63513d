"""Forms of benchmarks are rows of one table: keys, checks and loading follow from a row."""

from pathlib import Path

import pytest

from evaluation.benchmark import Benchmark
from evaluation.benchmarks import FORMS, Form, load_benchmarks
from xcoder_core.errors import InputError
from xcoder_core.problem import Problem, TestCase
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.keys import evaluation_targets


def read_lines(path: Path) -> Benchmark:
    """One problem per line: print it."""
    problems = [Problem(f"{n:016x}", line, "plain", "stdin") for n, line in enumerate(path.read_text().split("\n"))]
    tests = {p.problem_id: (TestCase(p.problem_id, 0, "", p.statement),) for p in problems}
    return Benchmark(path.stem, problems, tests, dict.fromkeys(tests, "all"), "kind", "lines")


def recipe(*benchmarks: str) -> Recipe:
    generation = {"backend": "openai", "openai": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}
    evaluation = {"models": ["base"], "benchmarks": list(benchmarks), "generation": generation}
    return load_recipe({"name": "r", "model": {"path": "m"}, "evaluation": evaluation}, [])


def key(*benchmarks: str) -> str:
    (target,) = evaluation_targets(recipe(*benchmarks), Path("runs/r"))
    return target.key


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a form that only this test knows."""
    monkeypatch.setitem(FORMS, "lines", Form("`lines:PATH`", lambda argument, files, synth: read_lines(files[0])))
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo")
    return path


def test_a_new_form_is_a_loader_and_a_row(lines: Path) -> None:
    (benchmark,) = load_benchmarks(recipe(f"lines:{lines}").evaluation.benchmarks, None)
    assert [problem.statement for problem in benchmark.problems] == ["one", "two"]
    before = key(f"lines:{lines}")
    lines.write_text("one\nthree")
    assert key(f"lines:{lines}") != before


def test_files_of_a_new_form_are_checked(lines: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*b\.txt"):
        recipe(f"lines:{lines.with_name('b.txt')}")
    with pytest.raises(InputError, match="no benchmark; expected `heldout`.*`lines:PATH`"):
        recipe("words:x")
    (lines.parent / "b").mkdir()
    (lines.parent / "b" / "a.txt").write_text("three")
    with pytest.raises(InputError, match="two benchmarks have the same name"):
        recipe(f"lines:{lines}", f"lines:{lines.parent / 'b' / 'a.txt'}")


@pytest.mark.parametrize("name", ["heldout:", "heldout:x", "file:", "lines"])
def test_a_form_is_named_with_its_argument_or_refused(lines: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no benchmark; expected"):
        recipe(name)
