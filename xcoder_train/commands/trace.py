"""`xcoder trace`: the way of one problem through a run, from stored files. No model is loaded, nothing is written."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from synth.cleaning import CONTAMINATED
from xcoder_core.templates import WIDTH, page
from xcoder_train.commands.options import Overrides, command_path
from xcoder_train.trace.find import Found, find
from xcoder_train.trace.models import trace_benchmark, trace_grpo, trace_scores, trace_sft
from xcoder_train.trace.synthesis import find_task, trace_synthesis

app = typer.Typer(rich_markup_mode=None)

_LABEL = 18
_STATEMENT_LINES = 6


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
            help="Folder of a run or of several, or a RECIPE; the folder runs when left out.",
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
    """From the features of a task to the cells of the score tables, as JSON values.

    Those of `synthesis`, `sft`, `grpo` and `benchmark` are None where the run has no such result, or one that knows
    nothing of the problem.
    """

    values: dict[str, object]

    @property
    def text(self) -> str:
        """The values for a reader. Long lists are cut short."""
        values = {**self.values, "contaminated": CONTAMINATED}
        filters = {"statement_lines": _statement_lines}
        return page("xcoder_train.trace", values, filters, label=_LABEL, breaks_words=True)


def trace_found(found: Found) -> Trace:
    """Follow the problem step by step."""
    task = find_task(found)
    use = task.use if task else None
    return Trace(
        {
            "problem_id": found.problem_id,
            "run": str(found.run.folder),
            "synthesis": trace_synthesis(task) if task else None,
            "sft": trace_sft(task, found.run.result("sft")) if task and use == "sft" else None,
            "grpo": trace_grpo(task, *map(found.run.result, ("grpo", "rates"))) if task and use == "rl" else None,
            "benchmark": trace_benchmark(found),
            **trace_scores(found),
        }
    )


def _statement_lines(text: str | None) -> list[str]:
    """The first lines of a problem's statement, which keeps its own line breaks."""
    given = "not stored" if text is None else text.strip()
    lines = [part for line in given.split("\n") for part in textwrap.wrap(line, WIDTH - _LABEL) or [""]]
    more = len(lines) - _STATEMENT_LINES
    return lines[:_STATEMENT_LINES] + ([f"… {more:,} more lines"] if more > 0 else [])
