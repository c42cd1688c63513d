"""Every command of the pages and recipe headers works as it is written, and every link between them leads somewhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.documented.acceptance import STAND_INS, NotAccepted, check, make_place, recipe_for, unreadable, words_of
from tests.documented.pages import ROOT, Found, Gathered, dead_link, gather_header, gather_page, gather_project
from tests.documented.treatment import TREATMENTS, How, treatment_of


def different(how: How) -> list[Found]:
    """The commands that are treated so, each once, in the order of the table."""
    commands = {found.text: found for found in reversed(gather_project().commands)}
    rows = {text: treatment_of(text) for text in commands}
    chosen = [(row, text) for text, row in rows.items() if row is not None and row.how is how]
    return [commands[text] for row, text in sorted(chosen, key=lambda pair: (TREATMENTS.index(pair[0]), pair[1]))]


@pytest.fixture(scope="module")
def made_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as commands see it, with a file of programs as the README makes it."""
    folder = tmp_path_factory.mktemp("place")
    make_place(folder)
    for found in different(How.RUN):
        if found.text.startswith("echo "):
            subprocess.run(["bash", "-ec", found.text], check=True, cwd=folder)
    return folder


@pytest.fixture
def place(made_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the working folder of a test."""
    monkeypatch.chdir(made_place)
    return made_place


# The pages themselves.


def test_no_command_stands_where_the_gatherer_would_miss_it() -> None:
    assert not gather_project().mistakes, "\n".join(gather_project().mistakes)


def test_every_command_has_its_treatment() -> None:
    left_out = [found for found in gather_project().commands if treatment_of(found.text) is None]
    told = "\n".join(f"{found.place}: {found.text}" for found in left_out)
    assert not left_out, f"say in tests/documented/treatment.py how these are tested, or mend them:\n{told}"


def test_every_row_of_the_table_is_needed() -> None:
    used = {treatment_of(found.text) for found in gather_project().commands}
    unused = [row.fits for row in TREATMENTS if row not in used]
    assert not unused, f"no command fits these rows of tests/documented/treatment.py; delete them: {unused}"


def test_every_command_is_one_that_its_program_takes(place: Path) -> None:
    syntax = unreadable([found.text for found in gather_project().commands])
    assert not syntax, syntax
    refused = []
    checked: set[tuple[str, bool]] = set()
    for found in gather_project().commands:
        seen = found.text, found.page.startswith("recipes/accelerate/")
        if seen not in checked:
            checked.add(seen)
            try:
                check(found.text, found.page)
            except NotAccepted as error:
                refused.append(f"{found.place}: {found.text}\n    {error}")
    assert not refused, "mend these commands where they stand:\n" + "\n".join(refused)


def test_the_smaller_form_of_a_longer_command_is_taken_too(place: Path) -> None:
    refused = []
    for found in different(How.SLOWLY):
        row = treatment_of(found.text)
        assert row is not None
        try:
            check(f"{found.text} {row.because}", found.page)
        except NotAccepted as error:
            refused.append(f"{found.text} {row.because}\n    {error}")
    assert not refused, "mend what tests/documented/treatment.py adds to these commands:\n" + "\n".join(refused)


def test_no_link_between_pages_is_dead() -> None:
    dead = [told for link in gather_project().links if (told := dead_link(link)) is not None]
    assert not dead, "\n".join(dead)


def test_every_file_that_a_page_names_is_there() -> None:
    missing = [
        f"{named.place}: there is no {named.text}"
        for named in gather_project().files
        if not (ROOT / named.text).exists()
    ]
    assert not missing, "\n".join(missing)


# Commands that are executed as they are written.


@pytest.mark.parametrize("found", different(How.RUN), ids=lambda found: found.text[:80])
def test_a_cheap_command_works_as_it_is_written(found: Found, place: Path) -> None:
    program, *rest = words_of(found.text)
    if program[0] == "echo":
        subprocess.run(["bash", "-ec", found.text], check=True)
        return
    stand_ins = {**STAND_INS, "RECIPE": recipe_for(found.page, program[1])}
    done = run_here(*(stand_ins.get(word, word) for word in program[1:]))
    assert done or Path(program[program.index("--output") + 1]).read_text()
    if rest == [["bash"]]:
        read = subprocess.run(["bash", "-n"], input=done, capture_output=True, text=True, check=False)
        assert read.returncode == 0 and "sbatch" in done, read.stderr


def run_here(*words: str) -> str:
    """`xcoder` in this process, with its standard output."""
    from xcoder_train.cli import app

    done = CliRunner().invoke(app, list(words), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


# Commands that take their time.

SLOW = different(How.SLOWLY)
SERVICE = ("xcoder judge serve", "curl ", "openssl ")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, whose stored figures and pages a command may write over."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in (
        "xcoder_core",
        "xcoder_train",
        "reward",
        "synth",
        "evaluation",
        "recipes",
        "tests",
        "benchmarks",
        "docs",
    ):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, module in (("xcoder", "xcoder_train.cli"), ("pytest", "pytest"), ("python", "")):
        call = f'exec {shlex.quote(sys.executable)} {"-m " + module if module else ""} "$@"\n'
        (bin_folder / name).write_text(f"#!/bin/sh\n{call}")
        (bin_folder / name).chmod(0o755)
    return folder


def environment_in(folder: Path) -> dict[str, str]:
    own = {"PYTHONPATH": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "WANDB_MODE": "disabled"}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


def run_in(folder: Path, command: str) -> str:
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment_in(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"{command}\nends with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    for said in (done.stdout, done.stderr):  # no bars and no colours where nobody watches
        assert not set("\x1b\r\b") & set(said), said[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "found", [found for found in SLOW if not found.text.startswith(SERVICE)], ids=lambda found: found.text[:80]
)
def test_a_longer_command_works_at_a_smaller_size(found: Found, copy: Path) -> None:
    row = treatment_of(found.text)
    assert row is not None
    run_in(copy, f"{found.text} {row.because}")


@pytest.mark.slow
def test_the_service_is_started_and_asked_as_its_page_says(copy: Path) -> None:
    service = [found.text for found in SLOW if found.text.startswith(SERVICE)]
    asked = [text for text in service if text.startswith("curl ")]
    for text in service:
        if text.startswith("openssl "):
            run_in(copy, text)
    for text in service:
        if not text.startswith("xcoder "):
            continue
        with_token = "--token-file" in text
        serving = subprocess.Popen(
            ["bash", "-ec", f"exec {text} --port 0"],
            cwd=copy,
            env=environment_in(copy),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert serving.stdout is not None
            first = next(line for line in serving.stdout if "judging at" in line)
            port = re.search(r":(\d+) ", first)
            assert port is not None, first
            for question in asked:
                if "Bearer" in question or not with_token:
                    answer = run_in(copy, question.replace(":8080/", f":{port[1]}/") + " --fail")
                    assert answer.startswith("#") or json.loads(answer)
        finally:
            serving.terminate()
            serving.wait(timeout=60)


# Positive controls: what is broken is noticed.


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("xcoder plan recipes/laptop/quickstart.yaml --jsonn", "No such option: --jsonn"),
        ("xcoder plann recipes/laptop/quickstart.yaml", "No such command 'plann'"),
        ("xcoder run recipes/laptop/quick-start.yaml", "quick-start.yaml: cannot be read"),
        ("xcoder run recipes/laptop/quickstart.yaml sft.trainning.max_steps=4", "did you mean `training`?"),
        ("xcoder run recipes/laptop/quickstart.yaml seed=seven", "expected a whole number"),
        ("xcoder grpo recipes/laptop/more-sft.yaml", "has no section `grpo:`"),
        ("xcoder ablate recipes/laptop/quickstart.yaml", "has no `ablation:` section"),
        ("xcoder judge serve --tier Z", "--tier Z: expected A or B"),
        ("xcoder push-model RECIPE", "Missing argument 'OWNER/NAME'"),
        ("accelerate launch --config_file recipes/accelerate/none.yaml -m xcoder_train.sft RECIPE", "none.yaml"),
        ("accelerate launch --no_such_option -m xcoder_train.sft RECIPE", "unrecognized arguments: --no_such_option"),
        ("accelerate launch -m xcoder_train.stf RECIPE", "none of the stages' modules"),
        ("python -m benchmarks.cleaning --problem-count 3", "unrecognized arguments"),
        ("python -m tests.mutations jugde", "there is no mutation 'jugde'"),
        ("pytest tests/xcoder_train/training/test_credit.py -k third_epoch", "pytest finds no test"),
        ("pytest tests/xcoder_train/test_nothing.py", "there is no tests/xcoder_train/test_nothing.py"),
        ("make quick-start", "quick-start"),
        ("pip install '.[vlm]'", "there is no extra vlm"),
        ("ray start --haed", "No such option"),
        ("frobnicate RECIPE", "nobody here knows"),
    ],
)
def test_a_broken_command_is_noticed(place: Path, command: str, said: str) -> None:
    with pytest.raises(NotAccepted) as noticed:
        check(command, "README.md")
    assert said in str(noticed.value)


def test_bash_itself_reads_the_commands() -> None:
    assert "unexpected" in unreadable(["xcoder doctor", "xcoder judge 'programs.jsonl"])
    assert treatment_of("frobnicate RECIPE") is None


def test_a_command_in_the_wrong_place_is_noticed_with_its_line() -> None:
    page = """# Heading

    xcoder plan RECIPE

Then xcoder run RECIPE in prose.

```text
$ xcoder sft RECIPE
```

```sh
xcoder doctor
```

See [there](docs/nowhere.md), [below](README.md#no-such-heading) and [here](README.md#two-commands).
"""
    found = Gathered()
    gather_page("README.md", page, found)
    assert [mistake.split(": ")[0] for mistake in found.mistakes] == [f"README.md:{line}" for line in (3, 5, 8, 11)]
    dead = [dead_link(link) for link in found.links]
    assert (
        "no docs/nowhere.md" in str(dead[0]) and "has no heading #no-such-heading" in str(dead[1]) and dead[2] is None
    )
    header = Gathered()
    gather_header("recipes/x.yaml", "# Purpose:  xcoder run this.\n# Override: the same with seed=1\nname: x\n", header)
    assert [mistake.split(": ")[0] for mistake in header.mistakes] == ["recipes/x.yaml:2", "recipes/x.yaml:1"]


def test_a_command_may_go_on_over_lines_and_end_in_a_comment() -> None:
    page = """```bash
xcoder plan RECIPE \\
    seed=1   # with '#' in a comment
echo 'a # b
c' > file
```
`VAR=1 python -m
x.y --z` and `xcoder` alone
"""
    found = Gathered()
    gather_page("README.md", page, found)
    assert [(command.line, " ".join(command.text.split())) for command in found.commands] == [
        (2, "xcoder plan RECIPE seed=1"),
        (4, "echo 'a # b c' > file"),
        (7, "VAR=1 python -m x.y --z"),
    ]
    assert words_of(found.commands[2].text) == [["python", "-m", "x.y", "--z"]]
