"""What each evaluated model did on a problem, and in which cell of the tables that counts."""

from evaluation.judging import SampleVerdict
from evaluation.measurement import ResultLayout
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_core.files import read_object
from xcoder_core.problem import Problem
from xcoder_core.records import read_matching
from xcoder_train.trace.find import Found, select
from xcoder_train.trace.page import Page, form, listed

_SAMPLES = 12
"""How many samples the page lists; --json has them all."""


def trace_benchmark(found: Found, page: Page) -> dict[str, object] | None:
    """The problem as the benchmarks have it; None where no model was measured on it."""
    for folder in found.run.evaluations().values():
        path = ResultLayout(folder).problems
        for problem in read_matching(path, Problem, "problem_id", str(found.problem_id)):
            page.title("task", problem.source)
            page.row("form", form(problem) + (f", {problem.difficulty}" if problem.difficulty else ""))
            page.statement(problem.statement)
            return select(problem, "source", "style", "io", "function_name", "difficulty", "statement")
    return None


def trace_scores(found: Found, page: Page, *, is_held_out: bool) -> dict[str, object]:
    """What each model that met the problem did, in the order of the recipe, and whether the report shows the problem.

    `in_report` is None without a report. That no model met it is worth a row only where it is held out from training.
    """
    scores = [
        _trace_model(label, ResultLayout(folder), counts, page)
        for label, folder in found.run.evaluations().items()
        for counts in read_matching(ResultLayout(folder).counts, ProblemCounts, "problem_id", str(found.problem_id))
    ]
    if is_held_out and not scores:
        page.title("scores")
        page.row("", "no finished evaluation met the problem")
    path = found.run.folder / "report.html"
    in_report = f"<code>{found.problem_id}</code>" in path.read_text(encoding="utf-8") if path.is_file() else None
    if scores and in_report is not None:
        page.title("report")
        page.row("", "shown among the sample problems" if in_report else "counted in its tables")
    return {"scores": scores, "in_report": in_report}


def _trace_model(label: str, layout: ResultLayout, counts: ProblemCounts, page: Page) -> dict[str, object]:
    page.title("scores", f"{label} on {counts.benchmark}")
    found = read_matching(layout.verdicts, SampleVerdict, "problem_id", counts.problem_id)
    verdicts = {verdict.sample_index: verdict for verdict in found}
    samples, lines = [], []
    for sample in read_matching(layout.samples, Sample, "problem_id", counts.problem_id):
        verdict = verdicts[sample.sample_index]
        value = {"index": sample.sample_index, **select(verdict, "verdict", "failure", "passed")}
        samples.append(value | {"tests": verdict.total} | select(sample, "finish_reason", "completion_tokens"))
        cut_off = " (cut off)" if sample.finish_reason == "length" else ""
        lines.append(f"{verdict.verdict} {verdict.passed}/{verdict.total}{cut_off}")
    page.row("samples", listed(lines, _SAMPLES))
    pass_at_1 = counts.correct / counts.samples if counts.samples else None
    invalid = f"; {counts.invalid} invalid, which do not count" if counts.invalid else ""
    page.row(
        "pass@1", f"{_percent(pass_at_1, 'valid sample')}: {counts.correct} of {counts.samples} samples right{invalid}"
    )
    scores = read_object(layout.scores)
    benchmark, cells = scores["benchmarks"][counts.benchmark], {}
    grouping = benchmark["grouping"]
    for k in scores["k"]:
        score = benchmark[f"pass_at_{k}"]
        rows = {"all": score, counts.group: score[f"by_{grouping}"][counts.group]}
        cells[f"pass_at_{k}"] = {row: select(cell, "mean", "problems") for row, cell in rows.items()}
        means = [f"{row} {_percent(cell['mean'], 'estimate')} of {cell['problems']:,}" for row, cell in rows.items()]
        page.row(f"in pass@{k}", f"column {label}, rows {', '.join(means)}")
    values = {"model": label, "folder": str(layout.folder), "policy": scores["policy"]}
    values |= {"benchmark": counts.benchmark, "grouping": grouping, "group": counts.group, "samples": samples}
    values |= {"pass_at_1": pass_at_1, "correct": counts.correct, "valid": counts.samples, "invalid": counts.invalid}
    return values | {"cells": cells}


def _percent(share: float | None, missing: str) -> str:
    return f"no {missing}" if share is None else f"{100 * share:.1f} %"
