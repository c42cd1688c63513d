"""The `xcoder` command. Everything heavy is imported by the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from xcoder_train.core.errors import InputError


class _Commands(TyperGroup):
    """The commands. typer would end an interrupted one without a word, and one whose reader has left as failed."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
            return status
        except KeyboardInterrupt as error:
            return _told(error)
        except BrokenPipeError:  # `| head` has what it wants
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


app = typer.Typer(
    name="xcoder",
    cls=_Commands,
    help="From a recipe to an expert code model: synthesis, SFT, GRPO on judged code, pass@k, report.",
    epilog="Every command with a RECIPE takes overrides: xcoder run RECIPE name=try2 sft.training.learning_rate=1e-5",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file of the experiment.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[key.path=value]...", help="Settings laid over the recipe.", show_default=False),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take the run over from a dead process on another machine.")
]


@app.command()
def run(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Run every stage that is not whole yet, each in its own process."""
    _run(recipe, overrides, None, break_lock)


@app.command()
def synth(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Synthesise verified tasks, solutions and tests."""
    _run(recipe, overrides, "synth", break_lock)


@app.command()
def sft(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Fine-tune on the accepted solutions."""
    _run(recipe, overrides, "sft", break_lock)


@app.command()
def grpo(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Train on judged rollouts."""
    _run(recipe, overrides, "grpo", break_lock)


@app.command("eval")
def evaluate(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Measure pass@k of every model of the run."""
    _run(recipe, overrides, "evaluation", break_lock)


@app.command()
def report(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Write the run's HTML report."""
    _run(recipe, overrides, "report", break_lock)


@app.command()
def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Check everything and show what a run would do. Needs no GPU and downloads nothing."""
    from xcoder_train.plan import make_plan
    from xcoder_train.plan_text import show_plan

    made = make_plan(recipe, overrides or [])
    if as_json:
        import json

        print(json.dumps(made, indent=2))
    else:
        print(show_plan(made))


@app.command()
def judge(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="Programs with their tests, one JSON per line.")],
    output: Annotated[Path | None, typer.Option(help="Where verdicts go; standard output when left out.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Sandbox workers; one per core when left out.")] = None,
    policy: Annotated[str, typer.Option(help="What decides a verdict.")] = "faithful",
    tier: Annotated[str | None, typer.Option(help="Isolation tier to insist on.")] = None,
    stop_at_first_failure: Annotated[
        bool, typer.Option(help="Leave out a program's tests after a failed one.")
    ] = False,
) -> None:
    """Judge programs against tests."""
    from reward.judge_file import judge_file

    settings = _judge_settings(workers=workers, policy=policy, tier=tier)
    judge_file(file, output, settings, stop_at_first_failure=stop_at_first_failure)


@app.command()
def doctor() -> None:
    """Show what this machine can do: isolation, GPUs, versions."""
    from xcoder_train.doctor import examine, show

    print(show(examine()))


def main() -> None:
    """The console script: one message and the right exit code for every error."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the command line itself
            print(f"error: {error.format_message()}", file=sys.stderr)
            sys.exit(2)
        sys.exit(_told(error))


def _told(error: Exception | KeyboardInterrupt) -> int:
    from xcoder_train.run import report_failure

    return report_failure(error, None)


def _run(recipe: Path, overrides: list[str] | None, only: Any, break_lock: bool) -> None:
    from xcoder_train.run import run_recipe

    status = run_recipe(recipe, overrides or [], only, break_lock)
    if status != 0:
        raise typer.Exit(status)


def _judge_settings(**given: object) -> Any:
    from reward.config import JudgeSettings

    for name in ("policy", "tier"):
        annotation = JudgeSettings.model_fields[name].annotation
        allowed = [value for part in (annotation, *get_args(annotation)) for value in get_args(part)]
        allowed = [value for value in allowed if isinstance(value, str)]
        if given[name] is not None and given[name] not in allowed:
            raise InputError(f"--{name} {given[name]}: expected {' or '.join(sorted(set(allowed)))}")
    return JudgeSettings.model_validate(given)


if __name__ == "__main__":
    main()
