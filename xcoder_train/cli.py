"""The `xcoder` command: which commands there are, and how every one of them ends.

The file of a command is imported when the command is called, so that `xcoder --help` answers at once.
"""

import importlib
import importlib.metadata
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from xcoder_core.terminal import harmless_lines
from xcoder_train.stages import STAGES, Stage


def _alone(stage: Stage) -> dict[str, tuple[str, str]]:
    """The row of the command that runs one stage alone."""
    return {stage.subcommand: ("evaluation" if stage.name == "evaluation" else "run", stage.purpose)}


# By name its file in `commands/`, and its line in the list of commands.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run every missing stage, each in its own process."),
    **_alone(STAGES["synth"]),
    "push-data": ("hub", "Publish the finished datasets on a hub (synth.push_to)."),
    **{name: row for stage in STAGES.values() if stage.name != "synth" for name, row in _alone(stage).items()},
    "plan": ("run", "Check everything and show what a run would do."),
    "ablate": ("ablate", "Run the missing runs of an ablation; write tables and plots."),
    "slurm": ("slurm", "Print a script that submits every stage as a Slurm job."),
    "push-model": ("hub", "Upload a trained model and its card to the hub."),
    "trace": ("trace", "Show one problem's way from features to scores."),
    "doctor": ("doctor", "Show what works here, what does not, and what to install."),
    "judge": ("judge", "Judge the programs of a FILE.jsonl, or serve the judge."),
}


def load(name: str) -> TyperCommand:
    """A command by its name. Imports its file."""
    module = importlib.import_module(f"xcoder_train.commands.{COMMANDS[name][0]}")
    command: Any = get_group(module.app).commands[name]
    return command


class _Commands(TyperGroup):
    """The commands, each loaded when it is called.

    typer would end an interrupted command without a message, and a command whose reader has ended as failed.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, purpose) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=purpose))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Load the command that the arguments begin with; for an unknown name, suggest a similar one."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(str(name)), rest

    def invoke(self, ctx: Any) -> object:
        """Run the chosen command."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
            return status
        except KeyboardInterrupt as error:
            return _report(error)
        except BrokenPipeError:  # the reader, such as `head`, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


app = typer.Typer(
    name="xcoder",
    cls=_Commands,
    epilog="Every command with a RECIPE takes overrides: xcoder run RECIPE name=try2 sft.training.learning_rate=1e-5",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"xcoder-train {importlib.metadata.version('xcoder-train')}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From a recipe to a trained code model: synthesis, SFT, GRPO on judged code, pass@k, report."""


def main() -> None:
    """The console script: one message and the right exit code for every error."""
    try:
        sys.exit(app(standalone_mode=False, prog_name="xcoder") or 0)
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the command line itself
            print(harmless_lines(_usage_error(error)), file=sys.stderr)
            sys.exit(2)
        sys.exit(_report(error))


def _usage_error(error: Any) -> str:
    """What is wrong and where to read on; only the help where a command was called without anything."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        return message
    more = "" if error.ctx is None else f" See: {error.ctx.command_path} --help"
    return f"error: {message if message.endswith(('.', '?')) else message + '.'}{more}"


def _report(error: Exception | KeyboardInterrupt) -> int:
    """Report an error on standard error, and return its exit code."""
    from xcoder_train.runs.stage import report_failure  # which few commands need

    return report_failure(error, None)


if __name__ == "__main__":
    main()
