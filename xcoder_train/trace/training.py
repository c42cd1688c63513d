"""Where training met a problem: the rows of SFT, and the steps of GRPO with what its rollouts were worth."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from xcoder_core.files import read_object
from xcoder_core.stage import RESULT_FILE
from xcoder_train.sft.data import rows_of_view
from xcoder_train.sft.settings import SftDataSettings
from xcoder_train.trace.find import Row, columns, select
from xcoder_train.trace.page import Page, counted, listed
from xcoder_train.trace.synthesis import TracedTask
from xcoder_train.training.checkpoints import CHECKPOINTS

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
