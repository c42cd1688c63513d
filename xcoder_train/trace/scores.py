"""What each evaluated model did on a problem, and in which cell of the tables that counts."""

from pathlib import Path
from typing import Any

from evaluation.judging import SampleVerdict
from evaluation.results import ResultLayout
from evaluation.samples import Sample
from evaluation.scores import ProblemCounts
from xcoder_train.core.problem import Problem
from xcoder_train.core.records import read_matching
from xcoder_train.trace.find import Found, read_json


def trace_scores(found: Found) -> list[dict[str, Any]]:
    """One entry per model that met the problem, in the order of the recipe."""
    told = []
    for label, folder in found.run.evaluations().items():
        layout = ResultLayout(folder)
        counts = list(read_matching(layout.counts, ProblemCounts, "problem_id", str(found.problem_id)))
        if counts:
            told.append(_of_model(found, label, layout, counts[0]))
    return told


def evaluated_problem(found: Found) -> dict[str, Any] | None:
    """The problem as the benchmarks have it; None where no model was measured on it."""
    for folder in found.run.evaluations().values():
        path = ResultLayout(folder).problems
        for problem in read_matching(path, Problem, "problem_id", str(found.problem_id)):
            return {
                "source": problem.source,
                "style": problem.style,
                "io": problem.io,
                "function_name": problem.function_name,
                "difficulty": problem.difficulty,
                "statement": problem.statement,
            }
    return None


def is_in_report(found: Found) -> bool | None:
    """Whether the report shows the problem among its samples; None without a report."""
    path: Path = found.run.folder / "report.html"
    return f"<code>{found.problem_id}</code>" in path.read_text(encoding="utf-8") if path.is_file() else None


def _of_model(found: Found, label: str, layout: ResultLayout, counts: ProblemCounts) -> dict[str, Any]:
    scores = read_json(layout.scores)
    benchmark = scores["benchmarks"][counts.benchmark]
    verdicts = {
        row.sample_index: row
        for row in read_matching(layout.verdicts, SampleVerdict, "problem_id", str(found.problem_id))
    }
    samples = [
        {
            "index": sample.sample_index,
            "verdict": verdicts[sample.sample_index].verdict,
            "failure": verdicts[sample.sample_index].failure,
            "passed": verdicts[sample.sample_index].passed,
            "tests": verdicts[sample.sample_index].total,
            "finish_reason": sample.finish_reason,
            "completion_tokens": sample.completion_tokens,
        }
        for sample in read_matching(layout.samples, Sample, "problem_id", str(found.problem_id))
    ]
    cells = {}
    for k in scores["k"]:
        score = benchmark[f"pass_at_{k}"]
        group = score[f"by_{benchmark['grouping']}"][counts.group]
        cells[f"pass_at_{k}"] = {"all": _cell(score), counts.group: _cell(group)}
    return {
        "model": label,
        "folder": str(layout.folder),
        "policy": scores["policy"],
        "benchmark": counts.benchmark,
        "grouping": benchmark["grouping"],
        "group": counts.group,
        "samples": samples,
        "pass_at_1": counts.correct / counts.samples if counts.samples else None,
        "correct": counts.correct,
        "valid": counts.samples,
        "invalid": counts.invalid,
        "cells": cells,
    }


def _cell(score: dict[str, Any]) -> dict[str, Any]:
    return {"mean": score["mean"], "problems": score["problems"]}
