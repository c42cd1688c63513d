"""`xcoder judge`: the judge on a file, and as a service."""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from reward.config import JudgeSettings, ServiceSettings
from reward.judge_file import judge_file
from reward.service.serve import serve
from xcoder_core.errors import InputError
from xcoder_core.settings import Settings
from xcoder_train.commands.options import command_path

SettingsType = TypeVar("SettingsType", bound=Settings)

OFFERED: dict[type[Settings], Sequence[str]] = {
    JudgeSettings: ("workers", "policy", "tier", "executor", "ray_address"),
    ServiceSettings: tuple(ServiceSettings.model_fields),
}
"""The settings that are options of the commands, by their class."""

_TEXTS = {"host": "ADDRESS", "ray_address": "HOST:PORT"}


class _FileUnlessCommand(TyperGroup):
    """`xcoder judge FILE.jsonl` means `xcoder judge file FILE.jsonl`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["file", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(rich_markup_mode=None)
judge = typer.Typer(
    cls=_FileUnlessCommand,
    help="Judge the programs of a FILE.jsonl, or serve the judge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(judge, name="judge")


def _with_settings_as_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each offered field of the settings that it takes."""
    parameters = inspect.signature(command).parameters
    taken = {name: each.annotation for name, each in parameters.items() if each.annotation in OFFERED}

    @functools.wraps(command)
    def with_options(**given: object) -> None:
        settings = {name: settings_from(settings_class, given) for name, settings_class in taken.items()}
        command(**settings, **{name: given[name] for name in parameters if name not in taken})

    own = [parameter for name, parameter in parameters.items() if name not in taken]
    options = [_option(name, each.model_fields[name]) for each in taken.values() for name in OFFERED[each]]
    with_options.__signature__ = inspect.Signature(own + options)  # type: ignore[attr-defined]  # what typer reads
    return with_options


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """An option that typer reads as text or number; whether the value is a right one is for the settings to say."""
    kind, metavar = field.annotation, _TEXTS.get(name, "NUMBER")
    if get_origin(kind) is UnionType or get_origin(kind) is Union:
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Literal:
        kind, metavar = str, "|".join(get_args(kind))
    text = " ".join(str(field.description).split())
    annotation = Annotated[kind | None, typer.Option(metavar=metavar, help=text)]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


@judge.command("file")
@_with_settings_as_options
def judge_file_command(
    settings: JudgeSettings,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.jsonl", parser=command_path, help="Programs with their tests, one JSON per line."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", parser=command_path, help="Where verdicts go; standard output when left out."),
    ] = None,
    stop_at_first_failure: Annotated[
        bool, typer.Option("--stop-at-first-failure", help="Skip a program's tests after a failed one.")
    ] = False,
) -> None:
    """Judge the programs of a file; `file` may be left out."""
    judge_file(file, output, settings, stop_at_first_failure=stop_at_first_failure)


@judge.command("serve")
@_with_settings_as_options
def judge_serve_command(
    settings: ServiceSettings,
    judge_settings: JudgeSettings,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=command_path, help="The token that clients must send; else XCODER_JUDGE_TOKEN."
        ),
    ] = None,
) -> None:
    """Judge over HTTP.

    Besides our own endpoint there are those of SandboxFusion, code-judge and Piston: docs/service.md.
    """
    serve(settings, judge_settings, token_file)


def settings_from(settings: type[SettingsType], given: dict[str, object]) -> SettingsType:
    """The settings that a command's options give. Raises `InputError` with the options that are wrong."""
    try:
        return settings.model_validate({name: given[name] for name in OFFERED[settings] if name in given})
    except ValidationError as error:
        wrong = []
        for each in error.errors():
            reason = each["msg"].removeprefix("Value error, ").removeprefix("Input ")
            if each["type"] == "literal_error":
                reason = f"expected {each['ctx']['expected']}".replace("'", "").replace(", ", " or ")
            elif each["type"] == "string_pattern_mismatch":  # of the one text with a pattern
                reason = "expected auto or HOST:PORT"
            options = "".join(f"--{str(name).replace('_', '-')} {each['input']}: " for name in each["loc"])
            wrong.append(options + reason)
        raise InputError("; ".join(wrong)) from error
