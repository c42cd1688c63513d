"""Where models met a problem: rows of SFT, steps of GRPO, and what each evaluated model made of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from evaluation.judging import SampleVerdict
from evaluation.measurement import ResultLayout
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_core.files import read_object
from xcoder_core.problem import Problem
from xcoder_core.records import Row, read_matching
from xcoder_core.stage import RESULT_FILE
from xcoder_train.sft.data import rows_of_view
from xcoder_train.sft.settings import SftDataSettings
from xcoder_train.trace.find import Found, columns, select
from xcoder_train.trace.synthesis import TracedTask
from xcoder_train.training.trl_arguments import CHECKPOINTS


def trace_sft(traced: TracedTask, folder: Path | None) -> dict[str, object] | None:
    """Which of the problem's solutions SFT trained on, and how often; None without a result.

    `solutions` is None where the result does not say it; `why` is the reason.
    """
    if folder is None:
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
    return {
        "folder": str(folder),
        "key": folder.name,
        "examples": figures["examples"],
        "too_long": figures["truncated"],
        "steps": figures["steps"],
        "epochs": figures["steps"] * figures["examples_per_step"] / figures["examples"],
        "why": why,
        "solutions": solutions,
    }


def trace_grpo(traced: TracedTask, folder: Path | None, rates: Path | None) -> dict[str, object] | None:
    """The steps whose stored rollouts answer the problem, with their verdicts; None without a result.

    `rates` is the folder of the pass rates that the run has measured; GRPO once did so itself.
    """
    if folder is None:
        return None
    tables = sorted((folder / CHECKPOINTS / "completions").glob("completions_*.parquet"))
    stored = [columns(table, "step", "problem_id", "verdict", "judged") for table in tables]
    stored = [rows for rows in stored if rows and "problem_id" in rows[0]]  # earlier results have no such column
    figures = read_object(folder / RESULT_FILE)
    return {
        "folder": str(folder),
        "key": folder.name,
        **select(figures, "prompts", "prompts_too_long", "prompts_without_lesson", "steps"),
        "steps_with_tables": len(stored),
        "pass_rate": _pass_rate(rates or folder, traced.problem_id),
        "met": [step for rows in stored for step in _met(rows, traced.problem_id)],
    }


def _met(rows: list[Row], problem_id: str | None) -> Iterator[dict[str, object]]:
    """Each step of a table of completions that rolled the prompt out; the mean is None where none had a reward."""
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
    for table in sorted(folder.glob("pass_rates*.parquet")):
        for row in columns(table, "problem_id", "samples", "solved"):
            if row["problem_id"] == problem_id:
                return select(row, "samples", "solved")
    return None


def trace_benchmark(found: Found) -> dict[str, object] | None:
    """The problem as the benchmarks have it; None where no model was measured on it."""
    for folder in found.run.evaluations().values():
        path = ResultLayout(folder).problems
        for problem in read_matching(path, Problem, "problem_id", str(found.problem_id)):
            return select(problem, "source", "style", "io", "function_name", "difficulty", "statement")
    return None


def trace_scores(found: Found) -> dict[str, object]:
    """What each model that met the problem did, in the order of the recipe, and whether the report shows the problem.

    `in_report` is None without a report.
    """
    scores = [
        _trace_model(label, ResultLayout(folder), counts)
        for label, folder in found.run.evaluations().items()
        for counts in read_matching(ResultLayout(folder).counts, ProblemCounts, "problem_id", str(found.problem_id))
    ]
    path = found.run.folder / "report.html"
    in_report = f"<code>{found.problem_id}</code>" in path.read_text(encoding="utf-8") if path.is_file() else None
    return {"scores": scores, "in_report": in_report}


def _trace_model(label: str, layout: ResultLayout, counts: ProblemCounts) -> dict[str, object]:
    found = read_matching(layout.verdicts, SampleVerdict, "problem_id", counts.problem_id)
    verdicts = {verdict.sample_index: verdict for verdict in found}
    samples = []
    for sample in read_matching(layout.samples, Sample, "problem_id", counts.problem_id):
        verdict = verdicts[sample.sample_index]
        value = {"index": sample.sample_index, **select(verdict, "verdict", "failure", "passed")}
        samples.append(value | {"tests": verdict.total} | select(sample, "finish_reason", "completion_tokens"))
    scores = read_object(layout.scores)
    benchmark, cells = scores["benchmarks"][counts.benchmark], {}
    grouping = benchmark["grouping"]
    for k in scores["k"]:
        score = benchmark[f"pass_at_{k}"]
        rows = {"all": score, counts.group: score[f"by_{grouping}"][counts.group]}
        cells[f"pass_at_{k}"] = {row: select(cell, "mean", "problems") for row, cell in rows.items()}
    return {
        "model": label,
        "folder": str(layout.folder),
        "policy": scores["policy"],
        "benchmark": counts.benchmark,
        "grouping": grouping,
        "group": counts.group,
        "samples": samples,
        "pass_at_1": counts.correct / counts.samples if counts.samples else None,
        "correct": counts.correct,
        "valid": counts.samples,
        "invalid": counts.invalid,
        "cells": cells,
    }
