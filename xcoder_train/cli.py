"""The `xcoder` command. Everything heavy is imported by the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from xcoder_core.errors import InputError
from xcoder_core.terminal import harmless_lines
from xcoder_train.judge_commands import command_path, judge


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
    epilog="Every command with a RECIPE takes overrides: xcoder run RECIPE name=try2 sft.training.learning_rate=1e-5",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", parser=command_path, help="YAML file of the experiment.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="key.path=value", help="Settings laid over the recipe.", show_default=False),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take the run over from a dead process on another machine.")
]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        import importlib.metadata

        print(f"xcoder-train {importlib.metadata.version('xcoder-train')}")
        raise typer.Exit


@app.callback()
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From a recipe to an expert code model: synthesis, SFT, GRPO on judged code, pass@k, report."""


app.add_typer(judge, name="judge")


@app.command()
def run(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Run every missing stage, each in its own process."""
    _run(recipe, overrides, None, break_lock)


@app.command()
def synth(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Synthesise verified tasks, solutions and tests."""
    _run(recipe, overrides, "synth", break_lock)


@app.command(name="push-data")
def push_data(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Publish the finished datasets on a hub (synth.push_to)."""
    from xcoder_train.hub import push_recipe

    for use, url in push_recipe(recipe, overrides or []).items():
        print(f"{use}: {url}")


@app.command()
def sft(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Fine-tune on the accepted solutions."""
    _run(recipe, overrides, "sft", break_lock)


@app.command()
def grpo(recipe: RecipePath, overrides: Overrides = None, break_lock: BreakLock = False) -> None:
    """Train on judged rollouts."""
    _run(recipe, overrides, "grpo", break_lock)


@app.command("eval")
def evaluate(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="YAML file of the experiment.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Measure this model, a folder or a name, without a recipe."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="With --model, as often as wanted: livecodebench:v5-279, file:PATH or evalplus:PATH."
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="With --model: an OpenAI-compatible server that answers for it.")
    ] = None,
    rejudge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=command_path, help="Judge an official LiveCodeBench file on one --benchmark again."
        ),
    ] = None,
    compared: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="FOLDER",
            parser=command_path,
            help="Twice or more: finished results, compared pair by pair.",
        ),
    ] = None,
    break_lock: BreakLock = False,
) -> None:
    """Measure pass@k of models or submissions, or compare results."""
    given = [*([recipe] if recipe else []), *(overrides or [])]
    if compared:
        from xcoder_train.results_commands import compare_results

        compare_results(compared)
        return
    if rejudge is not None:
        if model or server or len(benchmark or []) != 1 or not all("=" in text for text in given):
            raise typer.BadParameter("--rejudge FILE takes the place of a RECIPE and needs one --benchmark")
        from xcoder_train.results_commands import rejudge_file

        rejudge_file(rejudge, (benchmark or [""])[0], given)
        return
    if model is None:
        if recipe is None or benchmark or server:
            raise typer.BadParameter("expected a RECIPE, or --model M --benchmark file:PATH [--server URL]")
        _run(command_path(recipe), overrides, "evaluation", break_lock)
        return
    if not benchmark or (recipe is not None and "=" not in recipe):
        raise typer.BadParameter("--model takes the place of a RECIPE and needs a --benchmark file:PATH")
    from xcoder_train.recipe.reading import evaluation_recipe

    _run(evaluation_recipe(model, benchmark, server), given, "evaluation", break_lock)


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
    from xcoder_train.plan.make import make_plan

    made = make_plan(recipe, overrides or [])
    if as_json:
        import json

        print(json.dumps(made.figures, indent=2))
    else:
        print(harmless_lines(made.text))


@app.command()
def ablate(
    recipe: RecipePath,
    overrides: Overrides = None,
    commands: Annotated[
        str | None,
        typer.Option(metavar="xcoder|accelerate|slurm", help="Run nothing; print the missing runs as such commands."),
    ] = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables", help="Run nothing; write tables and plots of what is there. RECIPE may be a results.json."
        ),
    ] = False,
    break_lock: BreakLock = False,
) -> None:
    """Run what is missing of an ablation; write tables and plots."""
    from xcoder_train.ablation.results import read_results
    from xcoder_train.ablation.runs import FORMS, Ablation, missing_commands, run_ablation, write_results
    from xcoder_train.ablation.tables import to_markdown_page, write_tables

    if commands not in (None, *FORMS):
        raise InputError(f"--commands {commands}: expected xcoder, accelerate or slurm")
    if tables and recipe.suffix == ".json":
        results = read_results(recipe)
        write_tables(results, recipe.parent)
    else:
        ablation = Ablation(recipe, overrides or [])
        if commands is not None:
            print(*missing_commands(ablation, commands), sep="\n")
            return
        status = 0 if tables else run_ablation(ablation, break_lock)
        if status != 0:
            raise typer.Exit(status)
        results = write_results(ablation)
    print(harmless_lines(to_markdown_page(results)), end="")


@app.command()
def slurm(
    recipe: RecipePath,
    overrides: Overrides = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Limit of each job, as sbatch takes it; 24:00:00 when left out."),
    ] = None,
    partition: Annotated[str | None, typer.Option(metavar="NAME", help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Account that is charged.")] = None,
) -> None:
    """Print a script that submits every stage as a Slurm job."""
    from xcoder_train.slurm import slurm_script

    print(slurm_script(recipe, overrides or [], time=time, partition=partition, account=account), end="")


@app.command(name="push-model")
def push_model_of(
    recipe: RecipePath,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub.", show_default=False)],
    overrides: Overrides = None,
    stage: Annotated[
        str | None, typer.Option(metavar="sft|grpo", help="Whose model; the recipe's last one when left out.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
) -> None:
    """Upload a trained model and its card to the hub."""
    from xcoder_train.hub import push_model
    from xcoder_train.recipe.reading import load_recipe

    if stage not in (None, "sft", "grpo"):
        raise InputError(f"--stage {stage}: expected sft or grpo")
    loaded = load_recipe(recipe, overrides or [])
    chosen: Any = stage or ("grpo" if loaded.grpo is not None else "sft")
    print(push_model(loaded, chosen, repository, public=public))


@app.command()
def trace(
    problem: Annotated[
        str,
        typer.Argument(metavar="PROBLEM_ID", help="Id of a problem or task, or its beginning.", show_default=False),
    ],
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            parser=command_path,
            help="Folder of a run or of several, or a RECIPE; runs when left out.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show one problem's way from features to scores."""
    import json

    from xcoder_train.trace.find import find
    from xcoder_train.trace.trace import trace

    traced = trace(find(problem, run, overrides or []))
    print(json.dumps(traced.values, indent=2) if as_json else traced.text)


@app.command()
def doctor() -> None:
    """Show what works here, what does not, and what to install."""
    from xcoder_train.doctor import examine, exit_code, show

    findings = examine()
    print(show(findings))
    raise typer.Exit(exit_code(findings))


def main() -> None:
    """The console script: one message and the right exit code for every error."""
    try:
        sys.exit(app(standalone_mode=False, prog_name="xcoder") or 0)
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the command line itself
            print(harmless_lines(_usage_error(error)), file=sys.stderr)
            sys.exit(2)
        sys.exit(_told(error))


def _usage_error(error: Any) -> str:
    """What is wrong and where to read on; only the help where a command was called without anything."""
    said = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        return said
    more = "" if error.ctx is None else f" See: {error.ctx.command_path} --help"
    return f"error: {said if said.endswith(('.', '?')) else said + '.'}{more}"


def _told(error: Exception | KeyboardInterrupt) -> int:
    from xcoder_train.runs.run import report_failure

    return report_failure(error, None)


def _run(recipe: Any, overrides: list[str] | None, only: Any, break_lock: bool) -> None:
    from xcoder_train.runs.run import run_recipe

    status = run_recipe(recipe, overrides or [], only, break_lock)
    if status != 0:
        raise typer.Exit(status)


if __name__ == "__main__":
    main()
