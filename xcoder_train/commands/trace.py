"""`xcoder trace`: the way of one problem through a run, from stored files. No model is loaded, nothing is written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from xcoder_train.commands.options import Overrides, command_path
from xcoder_train.trace.find import Found, find
from xcoder_train.trace.models import trace_benchmark, trace_grpo, trace_scores, trace_sft
from xcoder_train.trace.page import Page
from xcoder_train.trace.synthesis import find_task, trace_synthesis

app = typer.Typer(rich_markup_mode=None)


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
    traced = trace_found(find(problem, run, overrides or []))
    print(json.dumps(traced.values, indent=2) if as_json else traced.text)


@dataclass(frozen=True)
class Trace:
    """From the features of a task to the cells of the score tables: all of it as JSON values, and as text to read.

    The values of `synthesis`, `sft`, `grpo` and `benchmark` are None where the run has no such result, or one that
    knows nothing of the problem.
    """

    values: dict[str, object]
    text: str


def trace_found(found: Found) -> Trace:
    """Follow the problem step by step. Each step returns its values, and writes its rows on the page."""
    page, unread = Page(), Page()
    page.row("problem", found.problem_id or "none: this task never became one")
    page.row("run", str(found.run.folder))
    task = find_task(found)
    use = task.use if task else None
    training = page if task and task.drop is None else unread
    values = {
        "problem_id": found.problem_id,
        "run": str(found.run.folder),
        "synthesis": trace_synthesis(task, page) if task else None,
        "sft": trace_sft(task, found.run.result("sft"), training) if task and use == "sft" else None,
        "grpo": trace_grpo(task, found.run.result("grpo"), training) if task and use == "rl" else None,
        "benchmark": trace_benchmark(found, unread if task else page),
        **trace_scores(found, page, is_held_out=task is None or use == "evaluation"),
    }
    return Trace(values, str(page))
