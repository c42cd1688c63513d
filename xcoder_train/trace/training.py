"""Where training met a problem: the rows of SFT, and the steps of GRPO with what its rollouts were worth."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from xcoder_train.checkpoints import CHECKPOINTS
from xcoder_train.config import SftDataSettings
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.stage import RESULT_FILE
from xcoder_train.sft_data import rows_of_view
from xcoder_train.trace.find import Found, columns, read_json


def trace_sft(found: Found, synth: Path, folder: Path | None) -> dict[str, Any] | None:
    """Which of the problem's solutions SFT trained on, and how often; None without a result.

    `solutions` is None where the result does not tell, and `why` says why not.
    """
    if folder is None:
        return None
    figures = read_json(folder / RESULT_FILE)
    told = {
        "folder": str(folder),
        "key": folder.name,
        "examples": figures["examples"],
        "too_long": figures["truncated"],
        "steps": figures["steps"],
        "epochs": figures["steps"] * figures["examples_per_step"] / figures["examples"],
        "why": None,
    }
    if figures["data"] != synth.name:
        return told | {"solutions": None, "why": f"it was trained on another synthesis, {figures['data']}"}
    if "view" not in figures:
        return told | {"solutions": None, "why": "it was made before results kept which rows they had"}
    view = SftDataSettings.model_validate(figures["view"]["data"])
    rows = rows_of_view(SynthLayout(synth), view, figures["view"]["seed"])
    return told | {"solutions": [row["solution_index"] for row in rows if row["problem_id"] == found.problem_id]}


def trace_grpo(found: Found, folder: Path | None) -> dict[str, Any] | None:
    """The steps whose stored rollouts answer the problem, with their verdicts; None without a result."""
    if folder is None:
        return None
    figures = read_json(folder / RESULT_FILE)
    tables = sorted((folder / CHECKPOINTS / "completions").glob("completions_*.parquet"))
    stored = [columns(table, "step", "problem_id", "verdict", "judged") for table in tables]
    stored = [rows for rows in stored if rows and "problem_id" in rows[0]]  # earlier results have no such column
    return {
        "folder": str(folder),
        "key": folder.name,
        "prompts": figures["prompts"],
        "prompts_too_long": figures["prompts_too_long"],
        "prompts_without_lesson": figures["prompts_without_lesson"],
        "steps": figures["steps"],
        "steps_with_tables": len(stored),
        "pass_rate": _pass_rate(found, folder),
        "met": [step for rows in stored for step in _met(rows, found.problem_id)],
    }


def _met(stored: list[dict[str, Any]], problem_id: str | None) -> list[dict[str, Any]]:
    """One entry for each step of a table of completions that rolled the problem's prompt out."""
    steps: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in stored:
        if row["problem_id"] == problem_id:
            steps[row["step"]].append(row)
    told = []
    for step, rows in sorted(steps.items()):
        rewards = [row["judged"] for row in rows if row["judged"] is not None and row["judged"] == row["judged"]]
        told.append(
            {
                "step": step,
                "rollouts": len(rows),
                "verdicts": dict(Counter(row["verdict"] for row in rows).most_common()),
                "mean_reward": sum(rewards) / len(rewards) if rewards else None,
            }
        )
    return told


def _pass_rate(found: Found, folder: Path) -> dict[str, int] | None:
    """How often the model solved the prompt before GRPO, where a curriculum measured it."""
    for table in sorted(folder.glob("pass_rates-*.parquet")):
        for row in columns(table, "problem_id", "samples", "solved"):
            if row["problem_id"] == found.problem_id:
                return {"samples": row["samples"], "solved": row["solved"]}
    return None
