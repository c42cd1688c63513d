"""Where training met a problem: the rows of SFT, and the steps of GRPO with what its rollouts were worth."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from evaluation.judging import SampleVerdict
from evaluation.measurement import ResultLayout
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_core.files import read_object
from xcoder_core.problem import Problem
from xcoder_core.records import read_matching
from xcoder_core.stage import RESULT_FILE
from xcoder_train.sft.data import rows_of_view
from xcoder_train.sft.settings import SftDataSettings
from xcoder_train.trace.find import Found, Row, columns, select
from xcoder_train.trace.page import Page, counted, form, listed
from xcoder_train.trace.synthesis import TracedTask
from xcoder_train.training.start import CHECKPOINTS

_SHOWN = 12
"""How many rows and steps the page lists; --json has them all."""


class Met(TypedDict):
    """A step that rolled the problem's prompt out; the mean is None where no rollout had a reward."""

    step: int
    rollouts: int
    verdicts: dict[str, int]
    mean_reward: float | None


def trace_sft(traced: TracedTask, folder: Path | None, page: Page) -> dict[str, object] | None:
    """Which of the problem's solutions SFT trained on, and how often; None without a result.

    `solutions` is None where the result does not say it; `why` is the reason.
    """
    page.title("training")
    page.row("SFT dataset", "rows " + listed([f"{row['row']:,}" for row in traced.sft_rows], _SHOWN))
    if folder is None:
        page.row("SFT", "the run has no finished SFT")
        return None
    figures, solutions, why = read_object(folder / RESULT_FILE), None, None
    if figures["data"] != traced.folder.name:
        why = f"it was trained on another synthesis, {figures['data']}"
    elif "view" not in figures:
        why = "it was made before results kept which rows they had"
    else:
        view = SftDataSettings.model_validate(figures["view"]["data"])
        rows = rows_of_view(traced.layout, view, figures["view"]["seed"])
        solutions = [row["solution_index"] for row in rows if row["problem_id"] == traced.problem_id]
    examples, too_long, steps = (figures[name] for name in ("examples", "truncated", "steps"))
    epochs = steps * figures["examples_per_step"] / examples
    chosen = ", ".join(f"#{index}" for index in solutions or ())
    trained = f"trained on solutions {chosen}" if chosen else "none of its rows was chosen (sft.data)"
    page.row("SFT", f"{folder.name}: " + (f"not known: {why}" if why else trained))
    left_out = f"; {too_long:,} examples of the run were too long, which is not stored one by one" if too_long else ""
    page.row("", f"{examples:,} examples, {steps:,} steps, {epochs:.1f} epochs{left_out}")
    values = {"folder": str(folder), "key": folder.name, "examples": examples, "too_long": too_long, "steps": steps}
    return values | {"epochs": epochs, "why": why, "solutions": solutions}


def trace_grpo(traced: TracedTask, folder: Path | None, page: Page) -> dict[str, object] | None:
    """The steps whose stored rollouts answer the problem, with their verdicts; None without a result."""
    page.title("training")
    page.row("RL dataset", "row " + listed([f"{row:,}" for row in traced.rl_rows], _SHOWN))
    if folder is None:
        page.row("GRPO", "the run has no finished GRPO")
        return None
    figures = read_object(folder / RESULT_FILE)
    prompts = select(figures, "prompts", "prompts_too_long", "prompts_without_lesson", "steps")
    summary = "{prompts:,} prompts, {steps:,} steps".format(**prompts)
    left_out = {"too long": prompts["prompts_too_long"], "without a lesson": prompts["prompts_without_lesson"]}
    if any(left_out.values()):
        summary += "; left out: " + ", ".join(f"{count:,} {why}" for why, count in left_out.items() if count)
    page.row("GRPO", f"{folder.name}: {summary}")
    pass_rate = _pass_rate(folder, traced.problem_id)
    if pass_rate is not None:
        page.row("before", "the model solved it in {solved} of {samples} samples".format(**pass_rate))
    tables = sorted((folder / CHECKPOINTS / "completions").glob("completions_*.parquet"))
    stored = [columns(table, "step", "problem_id", "verdict", "judged") for table in tables]
    stored = [rows for rows in stored if rows and "problem_id" in rows[0]]  # earlier results have no such column
    met = [step for rows in stored for step in _met(rows, traced.problem_id)]
    if not met:
        page.row("met", f"in none of the {len(stored):,} steps whose rollouts are stored")
    for step in met[:_SHOWN]:
        reward = "no reward" if step["mean_reward"] is None else f"mean reward {step['mean_reward']:+.2f}"
        page.row(f"  step {step['step']}", f"{step['rollouts']} rollouts: {counted(step['verdicts'])}; {reward}")
    if len(met) > _SHOWN:
        page.row("", f"and {len(met) - _SHOWN:,} more steps (--json)")
    values = {"folder": str(folder), "key": folder.name, **prompts, "steps_with_tables": len(stored)}
    return values | {"pass_rate": pass_rate, "met": met}


def _met(rows: list[Row], problem_id: str | None) -> Iterator[Met]:
    """One entry for each step of a table of completions that rolled the problem's prompt out."""
    steps = defaultdict(list)
    for row in rows:
        if row["problem_id"] == problem_id:
            steps[row["step"]].append(row)
    for step, rollouts in sorted(steps.items()):
        rewards = [row["judged"] for row in rollouts if row["judged"] is not None and row["judged"] == row["judged"]]
        verdicts = dict(Counter(row["verdict"] for row in rollouts).most_common())
        mean = sum(rewards) / len(rewards) if rewards else None
        yield {"step": step, "rollouts": len(rollouts), "verdicts": verdicts, "mean_reward": mean}


def _pass_rate(folder: Path, problem_id: str | None) -> dict[str, object] | None:
    """How often the model solved the prompt before GRPO, where a curriculum measured it."""
    for table in sorted(folder.glob("pass_rates-*.parquet")):
        for row in columns(table, "problem_id", "samples", "solved"):
            if row["problem_id"] == problem_id:
                return select(row, "samples", "solved")
    return None


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
