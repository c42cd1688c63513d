"""Asks each program that a page calls whether it takes the words of the command, without doing the work.

The program's own parser reads the words: typer's of `xcoder`, argparse of `accelerate launch` and of the benchmarks,
click's of `ray` and `hf`, pytest's collection, make's dry run. A recipe with its overrides is checked as `xcoder plan`
checks it.
"""

import argparse
import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.documented.pages import ROOT, gather_project
from xcoder_core.errors import InputError

STAND_INS = {
    "FILE.jsonl": "programs.jsonl",
    "FOLDER": "livecodebench",
    "NAME": "some-name",
    "OWNER/NAME": "me/some-name",
    "MODEL": "some/model",
    "FIRST": "node1",
}
"""What stands in for a placeholder of the pages, in the folder that `make_place` makes."""

# What an earlier command or a download gives, and no test machine has.
_LACKING = ("there is no folder runs/", "holds no finished ", "of livecodebench/code_generation_lite")

# The shell's own, and programs that this project neither brings nor needs: there is no parser of theirs to ask;
# wandb's wants its files to be there.
_NOT_ASKED = {".", "cd", "echo", "export", "chmod", "bash", "openssl", "curl", "perf", "srun", "vllm", "wandb"}


class NotAccepted(Exception):
    """The program would refuse the command; the message says why."""


def make_place(folder: Path) -> None:
    """A folder that looks like the project to commands, where what they write does no harm."""
    for name in ("recipes", "tests", "benchmarks", "docs", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    # The data of a benchmark, which a check looks for and does not read.
    (folder / "livecodebench").mkdir()
    for name in ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7))):
        (folder / "livecodebench" / name).touch()
        (folder / name).touch()
    (folder / "livecodebench" / "hybrid_376k.jsonl").touch()
    (folder / "livecodebench.jsonl").write_text('{"question_content": "Add two numbers."}\n')


def words_of(command: str) -> list[list[str]]:
    """The simple commands of a line, each as its words, without redirections and variables that are set for it."""
    lexer = shlex.shlex(command.replace("\n", " "), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    simple: list[list[str]] = [[]]
    skip_next = False
    for word in lexer:
        if skip_next:
            skip_next = False
        elif set(word) <= set("|&;"):
            simple.append([])
        elif set(word) <= set("<>"):
            skip_next = True
        elif simple[-1] or not re.match(r"[A-Z_]+=", word):
            simple[-1].append(word)
    return simple


def unreadable(commands: list[str]) -> str:
    """What bash itself says against the syntax of any of them."""
    script = "\n".join(commands)
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False).stderr.strip()


def check(command: str, page: str) -> None:
    """Raises NotAccepted where a program would refuse its words. Works in a folder that `make_place` made."""
    for words in words_of(command):
        _check_program([_stood_in(word) for word in words], page)


def _check_program(words: list[str], page: str) -> None:
    program, *rest = words
    if "--" in rest:  # a program that is told to start another one
        _check_program(rest[rest.index("--") + 1 :], page)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as complaint, contextlib.redirect_stdout(complaint):
            if program == "xcoder":
                _xcoder(rest, page)
            elif program == "python" and rest[:1] == ["-m"]:
                _module(rest[1], rest[2:])
            elif program == "pytest":
                _pytest(rest)
            elif program == "accelerate" and rest[:1] == ["launch"] and rest[1:]:
                _accelerate(rest[1:], page)
            elif program == "make":
                _make(rest, page)
            elif program == "pip" and rest[:1] == ["install"]:
                _pip(rest[1:])
            elif program == "pip":
                if rest != ["freeze"]:
                    raise NotAccepted(f"pip is called to install or to freeze, not {' '.join(rest)}")
            elif program == "git" and rest[:1] == ["clone"]:
                _git_clone(rest[1:])
            elif program in ("ray", "hf"):
                _click(program, rest)
            elif program not in _NOT_ASKED and words != ["accelerate", "launch"]:  # a name that prose mentions
                raise NotAccepted(f"nobody here knows whether {program} would take it; teach acceptance.py")
    except SystemExit as refused:
        raise NotAccepted(complaint.getvalue().strip() or f"{program} ends with {refused.code}") from refused
    except (InputError, FileNotFoundError) as refused:
        raise NotAccepted(str(refused)) from refused
    except Exception as refused:
        if hasattr(refused, "format_message"):  # typer's and click's own
            raise NotAccepted(refused.format_message()) from refused
        raise


def _stood_in(word: str) -> str:
    for placeholder, value in STAND_INS.items():
        word = re.sub(rf"(?<![\w/.-]){re.escape(placeholder)}(?![\w/.-])", value, word)
    return word


def _xcoder(words: list[str], page: str) -> None:
    from typer.main import get_command

    from xcoder_train.cli import app

    group: Any = get_command(app)
    if all(re.fullmatch(r"[a-z][a-z-]*", word) for word in words):  # a command's name, which prose may mention alone
        _find_command(words)
        return
    context = group.make_context("xcoder", list(words))
    while hasattr(group, "commands"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)
    _check_values(context.info_name, context.params, page)


def _find_command(words: list[str]) -> None:
    from xcoder_train.cli import COMMANDS, load

    known: Any = {name: load(name) for name in COMMANDS if name == words[0]}
    for word in words:
        if word not in known:
            raise NotAccepted(f"xcoder has no command {' '.join(words)!r}")
        known = getattr(known[word], "commands", {})


def _check_values(command: str, given: dict[str, Any], page: str) -> None:
    """What only the command itself would find wrong: recipes, overrides, and values that typer takes for plain text."""
    from reward.config import JudgeSettings
    from xcoder_train.commands.evaluation import NOWHERE
    from xcoder_train.commands.judge import settings_from
    from xcoder_train.recipe.reading import evaluation_recipe

    if command in ("file", "serve"):
        settings_from(JudgeSettings, given)
    elif command == "eval" and (given["model"] or given["rejudge"]):
        recipe = evaluation_recipe(
            given["model"] or "rejudged",
            given["benchmark"] or [],
            given["server"] or (NOWHERE if given["rejudge"] else None),
        )
        _sound(recipe, given["words"] or [], None)
    elif command == "eval" and given["words"]:
        recipe, *overrides = given["words"]
        _recipe(recipe, overrides, "evaluation", page)
    elif given.get("recipe") is not None:
        _recipe(str(given["recipe"]), list(given["overrides"] or []), command, page)
    if given.get("commands") not in (None, "xcoder", "accelerate", "slurm"):
        raise NotAccepted(f"--commands {given['commands']}")


def recipe_for(page: str, command: str | None) -> str:
    """What stands in for RECIPE: one that the command takes, of the size that the page is about."""
    if page.startswith("recipes/accelerate/"):
        return "recipes/xcoder-qwen2.5-7b.yaml"
    return "recipes/laptop/task-scaling.yaml" if command == "ablate" else "recipes/laptop/quickstart.yaml"


def _recipe(path: str, overrides: list[str], stage: str | None, page: str) -> None:
    """Plan a recipe with its overrides; `RECIPE` stands for one that suits the page."""
    from xcoder_train.ablation.runs import Ablation

    path = recipe_for(page, stage) if path == "RECIPE" else path
    if path.endswith(".json"):
        return  # results that an ablation left
    if stage != "ablate":
        _sound(path, overrides, stage)
    elif _sound(path, overrides, stage):
        Ablation(Path(path), overrides)


def _sound(path: Any, overrides: list[str], stage: str | None) -> bool:
    """Raises NotAccepted where the recipe is wrong. False where it is right and something that it starts from lacks."""
    from xcoder_train.recipe.reading import examine_recipe
    from xcoder_train.stages import STAGES

    root, _, mistakes = examine_recipe(Path(path) if isinstance(path, str) else path, overrides)
    broken = [mistake for mistake in mistakes if not any(lack in mistake for lack in _LACKING)]
    if broken:
        raise NotAccepted("\n".join(broken))
    section = {"report": "evaluation", "rates": "grpo"}.get(str(stage), stage)
    if stage in STAGES and root.nearest((str(section),)).plain() in (None, root.plain()):
        raise NotAccepted(f"{path} has no section `{section}:`")
    return not mistakes


def _module(name: str, words: list[str]) -> None:
    if name == "pytest":
        _pytest(words)
    elif name == "tests.mutations":
        from tests.mutations import MutationError, read_tables

        try:
            read_tables(words)
        except MutationError as error:
            raise NotAccepted(str(error)) from error
    else:
        package = importlib.import_module(name)
        module = importlib.import_module(f"{name}.__main__") if hasattr(package, "__path__") else package
        with _parsing_only(words), contextlib.suppress(_Parsed):
            module.main()
            raise NotAccepted(f"{name} reads no arguments")


class _Parsed(Exception):
    """argparse has taken the arguments."""


@contextlib.contextmanager
def _parsing_only(words: list[str]) -> Iterator[None]:
    """Programs of argparse end with `_Parsed` after their arguments are read."""
    parse, arguments = argparse.ArgumentParser.parse_args, sys.argv

    def parse_and_end(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        parse(self, args, namespace)
        raise _Parsed

    argparse.ArgumentParser.parse_args, sys.argv = parse_and_end, ["program", *words]  # type: ignore[method-assign]
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = parse, arguments  # type: ignore[method-assign]


def _accelerate(words: list[str], page: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    from xcoder_train.stages import STAGES

    given = launch_command_parser().parse_args(words)
    if given.config_file is not None:
        load_config_from_file(given.config_file)
    stages = {stage.module: stage.name for stage in STAGES.values() if stage.module is not None}
    if not given.module or given.training_script not in stages:
        raise NotAccepted(f"{given.training_script} is none of the stages' modules: {', '.join(stages)}")
    recipe, *overrides = given.training_script_args or [""]
    _recipe(recipe, overrides, stages[given.training_script], page)


def _make(words: list[str], page: str) -> None:
    """Also what make would call, as far as it is `xcoder`."""
    dry = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if dry.returncode != 0:
        raise NotAccepted(dry.stderr.strip())
    for line in dry.stdout.splitlines():
        if line.startswith(".venv/bin/xcoder "):
            _xcoder(shlex.split(line)[1:], page)


def _pip(words: list[str]) -> None:
    if "--dry-run" in words:  # asks what another package needs
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in (word for word in words if not word.startswith("-")):
        named = re.fullmatch(r"\.(?:\[([a-z,]+)\])?", requirement)
        if named is None:
            raise NotAccepted(f"{requirement} is neither this project nor an extra of it")
        for extra in (named[1] or "").split(","):
            if extra and extra not in project["optional-dependencies"]:
                raise NotAccepted(
                    f"there is no extra {extra}; pyproject.toml has {', '.join(project['optional-dependencies'])}"
                )


def _git_clone(words: list[str]) -> None:
    if len(words) not in (1, 2) or any(word.startswith("-") for word in words):
        raise NotAccepted("expected git clone ADDRESS [FOLDER]")


def _click(program: str, words: list[str]) -> None:
    if program == "ray":
        from ray.scripts.scripts import cli as group
    else:
        from huggingface_hub.cli.hf import app as group
    name, command, rest = group.resolve_command(group.make_context(program, [*words[:1]]), list(words))
    command.make_context(name, rest)


def _pytest(words: list[str]) -> None:
    """Raises NotAccepted unless the paths, `-k` and `-m` select a test."""
    from _pytest.mark import KeywordMatcher, MarkMatcher
    from _pytest.mark.expression import Expression

    parser = argparse.ArgumentParser(prog="pytest")
    parser.add_argument("--collect-only", action="store_true")
    parser.add_argument("-k", default="")
    parser.add_argument("-m", default="not slow and not vllm_server")
    parser.add_argument("-n", type=int)
    parser.add_argument("--dist", choices=["loadfile"])
    parser.add_argument("-s", action="store_true")
    parser.add_argument("paths", nargs="*")
    given = parser.parse_args(words)
    for path in given.paths:
        if not (ROOT / path).exists():
            raise NotAccepted(f"there is no {path}")
    items = [item for path in given.paths for item in _collected_in(path)]
    for text, matcher in ((given.k, KeywordMatcher), (given.m, MarkMatcher)):
        if text:
            expression = Expression.compile(text)
            make = (
                matcher.from_item
                if matcher is KeywordMatcher
                else lambda item: MarkMatcher.from_markers(item.iter_markers())
            )
            items = [item for item in items if expression.evaluate(make(item))]
    if given.paths and not items:
        raise NotAccepted(f"pytest finds no test for {shlex.join(words)}")


def _collected_in(path: str) -> list[Any]:
    """The tests below a path. All paths of the pages are collected in one go: starting pytest costs half a second."""
    everywhere = _collect(_paths_of_the_pages())
    found = [item for item in everywhere if item.path.is_relative_to(ROOT / path)]
    return found or _collect((path,))


@cache
def _paths_of_the_pages() -> tuple[str, ...]:
    commands = [words for found in gather_project().commands for words in words_of(found.text) if "pytest" in words[:3]]
    words = {word for command in commands for word in command if word.startswith("tests/")}
    return tuple(sorted(word for word in words if (ROOT / word).exists()))


@cache
def _collect(paths: tuple[str, ...]) -> list[Any]:
    import pytest

    class Items:
        found: list[Any] = []

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            self.found = list(items)
            items.clear()

    kept = Items()
    with contextlib.chdir(ROOT):
        status = pytest.main(
            ["--collect-only", "-m", "", "-p", "no:cacheprovider", "--capture=no", *paths], plugins=[kept]
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise NotAccepted(f"pytest cannot collect {' '.join(paths)}: {status!r}")
    return kept.found
