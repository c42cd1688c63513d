"""The command: quick to start, one message per mistake, the promised exit codes."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def cpu_seconds_of(terminal: Any, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert terminal.xcoder(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [("--help",), ("plan", "recipe.yaml")])
def test_help_and_plan_take_less_than_half_a_second_of_cpu(terminal: Any, arguments: tuple[str, ...]) -> None:
    assert min(cpu_seconds_of(terminal, *arguments) for _ in range(3)) < 0.5


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", "recipe.yaml", "judge.executor=ray"], ["plan", "recipe.yaml", "--json"]]
)
def test_help_and_plan_import_nothing_heavy(terminal: Any, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom xcoder_train.cli import main\n"
        f"sys.argv = ['xcoder', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)\n"
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
        (["judge", "missing.jsonl", "--workers", "0"], "Invalid value for '--workers'"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(terminal: Any, arguments: list[str], said: str) -> None:
    done = terminal.xcoder(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (terminal.folder / "runs").exists()


def test_the_list_of_commands_fits_80_columns(terminal: Any) -> None:
    listed = terminal.xcoder("--help").stdout
    assert "..." not in listed.partition("Commands:")[2] and "each in its own process" in listed
    assert max(map(len, listed.splitlines())) <= 80


def test_a_stage_module_by_hand_speaks_alike(terminal: Any) -> None:
    for arguments, said in (([], "expected RECIPE"), (["recipe.yaml", "seed"], "override 'seed'")):
        done = terminal.module("xcoder_train.synthesise", *arguments)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert terminal.module("xcoder_train.synthesise", "--help").returncode == 0


def test_doctor_finds_what_this_machine_has(terminal: Any) -> None:
    done = terminal.xcoder("doctor")
    assert done.returncode == 0, done.stderr
    subjects = {line[8:30].strip(): line[:8].strip() for line in done.stdout.splitlines()}
    assert subjects["Python"] == "ok" and subjects["torch"] == "ok" and "isolation tier A" in subjects
    strongest = next(tier for tier in "ABCD" if subjects[f"isolation tier {tier}"] == "ok")
    assert subjects["programs"] == "ok" and f"run in tier {strongest}, which does not stop: " in done.stdout


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
