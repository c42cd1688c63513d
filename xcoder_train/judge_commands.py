"""The `xcoder judge` commands: on a file, and as a service."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xcoder_core.errors import InputError


class _FileUnlessCommand(TyperGroup):
    """`xcoder judge FILE.jsonl` means `xcoder judge file FILE.jsonl`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["file", *args]
        return super().parse_args(ctx, args)


def command_path(text: str) -> Path:
    """A path of the command line, read as one of a recipe: a shell leaves `--output=~/a` to the command."""
    from xcoder_core.settings import expanded

    try:
        return Path(expanded(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from error


judge = typer.Typer(
    cls=_FileUnlessCommand,
    help="Judge the programs of a FILE.jsonl, or serve the judge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", help="Sandbox workers; one per core when left out.")
]
Policy = Annotated[str, typer.Option(metavar="faithful|livecodebench", help="What decides a verdict.")]
Tier = Annotated[str | None, typer.Option(metavar="A|B|C|D", help="Isolation tier to insist on.")]
Executor = Annotated[
    str, typer.Option(metavar="local|ray", help="Where programs run: here, or on the nodes of a Ray cluster.")
]
RayAddress = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Head of the Ray cluster; auto where this machine is one of its nodes.")
]


def _number(what: str) -> Any:
    return typer.Option(metavar="NUMBER", help=what)


@judge.command("file")
def judge_file_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.jsonl", parser=command_path, help="Programs with their tests, one JSON per line."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=command_path, help="Where verdicts go; standard output when left out."),
    ] = None,
    workers: Workers = None,
    policy: Policy = "faithful",
    tier: Tier = None,
    executor: Executor = "local",
    ray_address: RayAddress = "auto",
    stop_at_first_failure: Annotated[
        bool, typer.Option("--stop-at-first-failure", help="Leave out a program's tests after a failed one.")
    ] = False,
) -> None:
    """Judge the programs of a file; `file` may be left out."""
    arguments = locals()
    from reward.config import JudgeSettings
    from reward.judge_file import judge_file

    judge_file(file, output, _validated(JudgeSettings, arguments), stop_at_first_failure=stop_at_first_failure)


@judge.command("serve")
def judge_serve_command(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, _number("Port to listen on; 0 takes a free one.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=command_path, help="Holds the token that clients must send; else XCODER_JUDGE_TOKEN."
        ),
    ] = None,
    workers: Workers = None,
    policy: Policy = "faithful",
    tier: Tier = None,
    executor: Executor = "local",
    ray_address: RayAddress = "auto",
    queue_tests: Annotated[int, _number("Tests that may wait or run at once.")] = 20000,
    queue_mib: Annotated[int, _number("MiB of requests held at once.")] = 512,
    request_mib: Annotated[int, _number("Largest request in MiB.")] = 64,
    body_seconds: Annotated[float, _number("Seconds a request may take to arrive.")] = 60,
    deadline_seconds: Annotated[float, _number("Seconds a request may take.")] = 600,
    long_deadline_seconds: Annotated[float, _number("The same for long batches.")] = 3600,
    max_seconds: Annotated[float, _number("Most CPU seconds per test.")] = 120,
    max_memory_mib: Annotated[int, _number("Most MiB per test.")] = 4096,
    shutdown_seconds: Annotated[int, _number("Seconds that requests get at the end.")] = 10,
) -> None:
    """Judge over HTTP.

    Besides our own endpoint there are those of SandboxFusion, code-judge and Piston: docs/service.md.
    """
    arguments = locals()
    from reward.config import JudgeSettings, ServiceSettings
    from reward.service.serve import serve

    serve(_validated(ServiceSettings, arguments), _validated(JudgeSettings, arguments), token_file)


def _validated(settings: Any, arguments: dict[str, Any]) -> Any:
    """The settings that a command's arguments give. Raises `InputError` with the options that are wrong."""
    from pydantic import ValidationError

    try:
        return settings.model_validate({name: arguments[name] for name in settings.model_fields if name in arguments})
    except ValidationError as error:
        wrong = []
        for each in error.errors():
            said = each["msg"].removeprefix("Value error, ")
            if each["type"] == "literal_error":
                said = f"expected {each['ctx']['expected']}".replace("'", "").replace(", ", " or ")
            elif each["type"] == "string_pattern_mismatch":  # of the one text with a pattern
                said = "expected auto or HOST:PORT"
            options = "".join(f"--{str(name).replace('_', '-')} {each['input']}: " for name in each["loc"])
            wrong.append(options + said)
        raise InputError("; ".join(wrong)) from error
