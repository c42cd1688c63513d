"""Where training met a problem: the rows of SFT, and the steps of GRPO with what its rollouts were worth."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from xcoder_train.checkpoints import CHECKPOINTS
from xcoder_train.config import SftDataSettings
from xcoder_train.core.layout import SynthLayout
from xcoder_train.sft_data import count_accepted, select_rows
from xcoder_train.trace.find import Found, columns, read_json

_IN_SFT = ("problem_id", "solution_index", "style", "is_golden")


def trace_sft(found: Found, synth: Path, folder: Path | None) -> dict[str, Any] | None:
    """Which of the problem's solutions SFT trained on, and how often; None without a result."""
    if folder is None:
        return None
    figures = read_json(folder / "stage.json")
    view = SftDataSettings.model_validate((found.run.recipe.get("sft") or {}).get("data") or {})
    chosen = _chosen(SynthLayout(synth), view, found.run.recipe["seed"])
    told = {
        "folder": str(folder),
        "key": folder.name,
        "examples": figures["examples"],
        "too_long": figures["truncated"],
        "steps": figures["steps"],
        "epochs": figures["steps"] * figures["examples_per_step"] / figures["examples"],
        "verified": view.verified,
    }
    if len(chosen) != figures["examples"] + figures["truncated"]:
        # The recipe was changed after this result was made, so it does not say which rows that had.
        return told | {"solutions": None}
    return told | {"solutions": [row["solution_index"] for row in chosen if row["problem_id"] == found.problem_id]}


def trace_grpo(found: Found, synth: Path, folder: Path | None) -> dict[str, Any] | None:
    """The steps whose stored rollouts answer the problem, with their verdicts; None without a result."""
    if folder is None:
        return None
    figures = read_json(folder / "stage.json")
    tables = sorted((folder / CHECKPOINTS / "completions").glob("completions_*.parquet"))
    prompts = columns(SynthLayout(synth).dataset("rl") / "train.parquet", "problem_id", "prompt")
    prompt = next((row["prompt"] for row in prompts if row["problem_id"] == found.problem_id), None)
    return {
        "folder": str(folder),
        "key": folder.name,
        "prompts": figures["prompts"],
        "prompts_too_long": figures["prompts_too_long"],
        "prompts_without_lesson": figures["prompts_without_lesson"],
        "steps": figures["steps"],
        "steps_with_tables": len(tables),
        "pass_rate": _pass_rate(found, folder),
        "met": [] if prompt is None else [step for table in tables for step in _met(table, prompt)],
    }


def _chosen(layout: SynthLayout, view: SftDataSettings, seed: int) -> list[dict[str, Any]]:
    """The rows of the view, without their texts: `select_rows` reads none of them."""
    train = layout.dataset("sft") / "train.parquet"
    if not train.exists():
        return []
    rows = columns(train, *_IN_SFT)
    if not view.verified:
        styles = {row["problem_id"]: row["style"] for row in columns(layout.problems, "problem_id", "style")}
        uses = {row["problem_id"]: row["use"] for row in columns(layout.memberships, "problem_id", "use")}
        rows = [
            {
                "problem_id": row["problem_id"],
                "solution_index": row["index"],
                "style": styles[row["problem_id"]],
                "is_golden": False,
            }
            for row in columns(layout.solutions, "problem_id", "index")
            if uses[row["problem_id"]] == "sft"
        ]
    if view.minimum_solutions is not None:
        accepted = count_accepted(layout)
        rows = [row for row in rows if accepted[row["problem_id"]] >= view.minimum_solutions]
    return select_rows(rows, view, seed)


def _met(table: Path, prompt: list[dict[str, str]]) -> list[dict[str, Any]]:
    """One entry for each step in a table of completions that rolled the prompt out."""
    steps: dict[int, list[dict[str, Any]]] = defaultdict(list)
    wanted = json.dumps(prompt, sort_keys=True)
    for row in columns(table, "step", "prompt", "verdict", "judged", "tests_passed"):
        if json.dumps(row["prompt"], sort_keys=True) == wanted:
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
