"""The command: quick to start, one message per mistake, the promised exit codes."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from reward.config import JudgeSettings, ServiceSettings
from xcoder_core.errors import install_command
from xcoder_train.cli import COMMANDS, app, load, main
from xcoder_train.commands import doctor
from xcoder_train.commands.judge import settings_from
from xcoder_train.stages import STAGES

HEAVY = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "pyarrow",
    "numpy",
    "pandas",
    "matplotlib",
    "wandb",
    "accelerate",
    "ray",
)


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(terminal: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the console script in this process, in the terminal's folder: a process each would cost half a second."""

    def run(*arguments: str) -> Ended:
        monkeypatch.chdir(terminal.folder)
        monkeypatch.setattr(sys, "argv", ["xcoder", *arguments])
        monkeypatch.setenv("COLUMNS", "80")
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capfd.readouterr()
        return Ended(end.value.code if isinstance(end.value.code, int) else 0, said.out, said.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {*HEAVY, "pydantic"}),
        (["doctor"], HEAVY),
        (["plan", "recipe.yaml", "judge.executor=ray"], HEAVY),
        (["plan", "recipe.yaml", "--json"], HEAVY),
    ],
)
def test_help_doctor_and_plan_import_nothing_heavy(terminal: Any, arguments: list[str], unwanted: Any) -> None:
    """So that they answer at once; `python -m benchmarks.command_line` measures it."""
    code = (
        "import sys\nfrom xcoder_train.cli import main\n"
        f"sys.argv = ['xcoder', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(sorted(set(sys.modules) & set({unwanted!r})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=terminal.folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "missing.yaml"], "missing.yaml: cannot be read: No such file"),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "recipe.yaml", "seed"], "override 'seed': expected key.path=value"),
        (["run", "recipe.yaml", "--nonsense"], "No such option"),
        (["plan", "recipe.yaml", "seeed=3"], "no such key; did you mean `seed`?"),
        (["sft", "recipe.yaml"], "recipe.yaml has no `sft:` section; it has synth"),
        (["eval", "recipe.yaml"], "has no `evaluation:` section"),
        (["judge", "missing.jsonl"], "missing.jsonl"),
        (["judge", "missing.jsonl", "--tier", "Z"], "--tier Z: expected A or B"),
        (["judge", "missing.jsonl", "--executor", "slurm"], "--executor slurm: expected local or ray"),
        (["judge", "missing.jsonl", "--ray-address", "ray://x"], "--ray-address ray://x: expected auto or HOST:PORT"),
        (["judge", "missing.jsonl", "--executor", "ray"], "give --output"),
        (["judge", "missing.jsonl", "--workers", "0"], "--workers 0: should be greater than or equal to 1"),
        (["judge", "missing.jsonl", "--workers", "x"], "Invalid value for '--workers'"),
        (["judge", "serve", "--queue-mib", "3"], "error: queue_mib (3) must be at least request_mib (64)"),
        (["nonsense"], "No such command 'nonsense'. See: xcoder --help"),
        (["rnu"], "No such command 'rnu'. Did you mean 'run'? See: xcoder --help"),
        (["plan"], "Missing argument 'RECIPE'. See: xcoder plan --help"),
        (["plan", "recipes.yaml"], "No such file or directory; did you mean recipe.yaml?"),
        (["ablate", "recipe.yaml", "--commands", "bash"], "--commands bash: expected xcoder, accelerate or slurm"),
        (["push-model", "recipe.yaml", "me/it", "--stage", "rl"], "--stage rl: expected sft or grpo"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    terminal: Any, here: Callable[..., Ended], arguments: list[str], said: str
) -> None:
    done = here(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (terminal.folder / "runs").exists()


def test_the_list_of_commands_fits_80_columns(here: Callable[..., Ended]) -> None:
    listed = here("--help").stdout
    assert "..." not in listed.partition("Commands:")[2] and "each in its own process" in listed
    assert max(map(len, listed.splitlines())) <= 80 and listed.startswith("Usage: xcoder [OPTIONS]")


def test_help_is_short_too_and_the_version_is_told(here: Callable[..., Ended]) -> None:
    assert here("-h") == here("--help") and here("judge", "file", "-h").stdout.startswith("Usage: xcoder judge file")
    told = here("--version")
    assert (told.returncode, told.stdout) == (0, f"xcoder-train {importlib.metadata.version('xcoder-train')}\n")


def test_the_list_of_commands_says_of_each_what_its_own_help_says() -> None:
    listed = get_command(app).commands  # type: ignore[attr-defined]
    assert listed.keys() == COMMANDS.keys() > {stage.subcommand for stage in STAGES.values()}
    for name in COMMANDS:
        assert listed[name].get_short_help_str(200) == load(name).get_short_help_str(200)


def every_command() -> Iterator[tuple[str, Any]]:
    for name in COMMANDS:
        loaded = load(name)
        below = getattr(loaded, "commands", None)
        yield from (
            [(f"xcoder {name}", loaded)] if below is None else [(f"xcoder {name} {n}", c) for n, c in below.items()]
        )


@pytest.mark.parametrize(("name", "command"), [*every_command()])
def test_every_help_says_what_it_does_and_takes_in_plain_words(name: str, command: Any) -> None:
    context = command.make_context(name, [], resilient_parsing=True)
    context.terminal_width = 80
    text = command.get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    assert re.match(r"[A-Z].*\.$", command.help.splitlines()[0]) and "\x1b" not in text and "[[" not in text
    for parameter in command.params:
        assert parameter.help is None or re.match(r".+\.$", parameter.help), f"{parameter.name}: {parameter.help}"
        if parameter.param_type_name == "option" and not parameter.is_flag and parameter.name != "help":
            assert parameter.metavar and parameter.metavar in text, parameter.name


def test_every_setting_of_the_service_is_an_option_with_its_default() -> None:
    serve: Any = load("judge")
    serve = serve.commands["serve"]
    default: dict[str, Any] = {name: field.default for name, field in ServiceSettings.model_fields.items()}
    others = {name: value + 1 for name, value in default.items() if isinstance(value, int | float)} | {"host": "::1"}
    options = [text for name, value in others.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    nothing = serve.make_context("serve", []).params
    assert settings_from(ServiceSettings, nothing) == ServiceSettings()
    assert settings_from(JudgeSettings, nothing) == JudgeSettings()
    given = serve.make_context("serve", [*options, "--workers", "3", "--tier", "B"]).params
    assert settings_from(ServiceSettings, given) == ServiceSettings(**others)
    assert settings_from(JudgeSettings, given) == JudgeSettings(workers=3, tier="B")


@pytest.mark.parametrize("arguments", [[], ["judge"]])
def test_a_command_without_anything_shows_its_help_and_no_error(
    here: Callable[..., Ended], arguments: list[str]
) -> None:
    done = here(*arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("Usage: xcoder")
    assert "error" not in done.stderr


def test_an_evaluation_without_a_recipe_names_the_options_that_are_wrong(here: Callable[..., Ended]) -> None:
    options = ["--model", "nowhere", "--benchmark", "file:no.jsonl", "--benchmark", "xyz"]
    for added, wrong in (
        (["--server", "htp:/x", "evaluation.samples=x"], ["--server", "override 'evaluation.samples=x'"]),
        ([], ["--benchmark file:no.jsonl", "--benchmark xyz", "--model nowhere"]),
    ):
        done = here("eval", *options, *added)
        assert done.returncode == 2 and ".yaml" not in done.stderr and done.stdout == ""
        first, *others = done.stderr.splitlines()
        assert first == f"error: {len(wrong)} mistakes in the recipe"
        assert [line.split(": ")[0].strip() for line in others] == wrong


def test_a_stage_module_by_hand_speaks_alike(terminal: Any) -> None:
    for arguments, said in (([], "expected RECIPE"), (["recipe.yaml", "seed"], "override 'seed'")):
        done = terminal.module("xcoder_train.runs.stage", "synth", *arguments)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert terminal.module("xcoder_train.runs.stage", "synth", "--help").returncode == 0


def test_doctor_finds_what_this_machine_has(here: Callable[..., Ended]) -> None:
    done = here("doctor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    subjects = {line[9:27].strip(): line[:9].strip() for line in lines}
    assert subjects["Python"] == "ok" and subjects["packages"] == "ok" and "isolation tier A" in subjects
    strongest = next(tier for tier in "ABCD" if subjects[f"isolation tier {tier}"] == "ok")
    assert subjects["judging Python"] == "ok" and f"in tier {strongest}, which does not stop: " in done.stdout
    assert done.stderr == "" and lines[-1].startswith("Ready.")


def test_doctor_says_what_to_install() -> None:
    findings = {finding.subject: finding for finding in doctor.examine()}
    asked = importlib.metadata.requires(doctor.DISTRIBUTION) or []
    extras = set(importlib.metadata.metadata(doctor.DISTRIBUTION).get_all("Provides-Extra") or [])
    assert set(doctor.EXTRAS) == extras - {"dev"} and asked
    for extra in doctor.EXTRAS:
        found = findings[f"extra {extra}"]
        assert found.is_fine or install_command(extra) in found.found
    text = doctor.show([doctor.Finding("trl", "trl 1.15.0 does not fit; pip install 'trl>=1.16'", False)])
    assert text.startswith("PROBLEM  trl") and text.endswith("1 problem has to be mended before anything runs.")
    assert doctor.exit_code([doctor.Finding("trl", "", False)]) == 3
    assert doctor.exit_code([doctor.Finding("GPU", "", None)]) == 0


@pytest.mark.parametrize(
    ("name", "version", "subject"),
    [("transformers", "5.17.0", "transformers"), ("vllm", "0.31.0", "extra vllm"), ("vllm", "0.26.0", "extra vllm")],
)
def test_doctor_calls_no_environment_ready_that_holds_a_version_which_pyproject_excludes(
    name: str, version: str, subject: str, tmp_path: Path
) -> None:
    """The metadata alone, found before that of the installed package."""
    folder = tmp_path / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from xcoder_train.cli import main; sys.argv = ['xcoder', 'doctor']; main()",
        ],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"PROBLEM  {subject}" in done.stdout and f"{name} {version} does not fit" in " ".join(done.stdout.split())
    assert "Ready" not in done.stdout


def test_doctor_says_which_promised_packages_programs_cannot_import(tmp_path: Path) -> None:
    """They lie elsewhere: the interpreter's own folder of packages, where the judge looks, is empty."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    elsewhere = [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("-packages"))]
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "python"), "-m", "xcoder_train.cli", "doctor"],
        env={**os.environ, "PYTHONPATH": ":".join(elsewhere)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "PROBLEM  programs import   no numpy and sortedcontainers in " in done.stdout


def test_doctor_works_without_a_compiler_a_driver_and_any_installed_package(tmp_path: Path) -> None:
    """As where the project lies in a folder only, on a machine with nothing on its path."""
    code = (
        "import importlib.metadata\n"
        "def missing(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.requires = importlib.metadata.version = missing\n"
        "from xcoder_train.cli import main\nimport sys\nsys.argv = ['xcoder', 'doctor']\nmain()\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and done.stderr == "", done.stderr
    assert "no compiler; apt-get install g++" in done.stdout
    assert "PROBLEM  packages" in done.stdout and "pip install -e ." in done.stdout


def test_a_ray_cluster_that_is_not_there_is_said_in_one_line(terminal: Any) -> None:
    program = {"id": "a", "code": "print(4)", "tests": [{"input": "", "expected": "4"}]}
    (terminal.folder / "programs.jsonl").write_text(json.dumps(program) + "\n")
    where = ["--executor", "ray", "--ray-address", "127.0.0.1:1", "--output", "verdicts.jsonl"]
    done = terminal.xcoder("judge", "programs.jsonl", *where)
    assert done.returncode == 3, done.stderr
    assert "no Ray cluster at judge.ray_address = 127.0.0.1:1" in done.stderr and done.stderr.count("\n") == 1
    assert not (terminal.folder / "verdicts.jsonl").exists()


def test_the_judge_is_reached_from_the_command(terminal: Any) -> None:
    program = {"id": "a", "code": "print(int(input()) * 2)", "tests": [{"input": "2\n", "expected": "4\n"}]}
    (terminal.folder / "programs.jsonl").write_text(json.dumps(program) + "\n")
    done = terminal.xcoder("judge", "programs.jsonl", "--workers", "1", "--output", "verdicts.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((terminal.folder / "verdicts.jsonl").read_text())["verdict"] == "AC"


@pytest.mark.parametrize("arguments", [["judge", "programs.jsonl", "--workers", "1"], ["plan", "recipe.yaml"]])
def test_a_reader_that_has_enough_ends_the_command_quietly(terminal: Any, arguments: list[str]) -> None:
    program = {"code": "print(int(input()) * 2)", "tests": [{"input": "2\n", "expected": "4\n"}] * 100}
    lines = [json.dumps({"id": str(number), **program}) + "\n" for number in range(30)]
    (terminal.folder / "programs.jsonl").write_text("".join(lines))
    command = terminal.start(*arguments, stdout=subprocess.PIPE)
    command.stdout.readline()
    command.stdout.close()
    said = command.stderr.read()
    assert command.wait() == 0 and said == "", said


def test_a_strangers_recipe_cannot_hide_a_line_of_its_plan_or_steer_the_terminal(
    terminal: Any, here: Callable[..., Ended]
) -> None:
    recipe = terminal.folder / "recipe.yaml"
    terminal.write(
        recipe.read_text()
        + 'sft: {max_length: 64}\nmodel: {path: "own/m\\e[1A\\e[2K\\u202e", trust_remote_code: true}\n'
    )
    shown = here("plan", "recipe.yaml").stdout
    assert "\\x1b[1A\\x1b[2K\\u202e" in shown and not set(shown) & set("\x1b\u202e")
    for wrong in (("plan", "recipe.yaml", 'sft.training.output_dir="\\e[2J"'), ("plan", "\udcff\x1b[2J.yaml")):
        refused = here(*wrong)
        assert refused.returncode == 2 and refused.stderr.startswith("error") and "\x1b" not in refused.stderr
    terminal.write(recipe.read_text() + '"\\e[2J": 1\n')
    refused = here("plan", "recipe.yaml")
    assert refused.returncode == 2 and "\\x1b[2J" in refused.stderr and "\x1b" not in refused.stderr
