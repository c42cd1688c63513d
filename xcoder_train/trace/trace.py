"""The way of one problem through a run, gathered from stored files. No model is loaded, nothing is written."""

from dataclasses import dataclass

from xcoder_train.trace.find import Found
from xcoder_train.trace.page import Page
from xcoder_train.trace.scores import trace_benchmark, trace_scores
from xcoder_train.trace.synthesis import find_task, trace_synthesis
from xcoder_train.trace.training import trace_grpo, trace_sft


@dataclass(frozen=True)
class Trace:
    """From the features of a task to the cells of the score tables: all of it as JSON values, and as text to read.

    The values of `synthesis`, `sft`, `grpo` and `benchmark` are None where the run has no such result, or one that
    knows nothing of the problem.
    """

    values: dict[str, object]
    text: str


def trace(found: Found) -> Trace:
    """Go the way step by step. Each step gives its values, and writes on the page what a reader is told of it."""
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
