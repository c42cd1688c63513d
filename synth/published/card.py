"""The dataset card of an import: a README that the dataset's folder carries."""

import json
from typing import Any

from synth.config import SynthSettings
from synth.published.config import HUB_IDS

_WHAT = {
    "sft": (
        "Conversations for supervised fine-tuning, one row per distinct program of a problem. Answers are as "
        "published, reasoning included; they were not judged here, so no row is marked as golden."
    ),
    "rl": (
        "Prompts for reinforcement learning with a judge. A row carries `problem_id` and no tests; those stand in "
        "`tests.parquet` of the same run."
    ),
}


def steps_of(counts: dict[str, Any]) -> list[tuple[str, int]]:
    """What became of the rows of a split, from the first step to the last."""
    lines = [("rows", counts["rows"])]
    lines += [(f"set aside: {reason}", count) for reason, count in counts["set_aside"].items()]
    lines += [("merged into another row's problem", counts["rows_merged"]), ("problems", counts["made"])]
    lines += [(f"dropped: {reason}", count) for reason, count in counts["dropped"].items()]
    lines += [("problems kept", counts["kept"]), ("solutions", counts["accepted_solutions"])]
    names = ("tests", "tests_in_conflict", "tests_without_text")
    return [*lines, *((name.replace("_", " "), counts[name]) for name in names)]


def write_import_card(use: str, rows: int, settings: SynthSettings, seed: int, funnel: dict[str, Any]) -> str:
    """The card of the dataset of `use`, as Markdown with the metadata block that dataset hubs read."""
    ours = [item for item in settings.imports if item.use == use]
    sources = ", ".join(f"{HUB_IDS[item.source]} (`{item.part}`)" for item in ours)
    sections = [
        "---\nlanguage: en\ntags:\n- code\nconfigs:\n- config_name: default\n"
        "  data_files:\n  - split: train\n    path: train.parquet\n---",
        f"# Imported programming tasks: {use}",
        f"{_WHAT[use]} {rows:,} rows, imported from {sources}. Their licence is that of the set they come from.",
    ]
    for item in ours:
        table = [f"| {name} | {count:,} |" for name, count in steps_of(funnel[item.split])]
        sections += [f"## Split `{item.split}`", "\n".join(["| step | count |", "|---|---:|", *table])]
    shown = settings.model_dump(mode="json", include={"imports", "cleaning", "solutions_per_task", "limit_seconds"})
    for item in shown["import"]:
        item.pop("path")  # of the one who made the data
    shown["cleaning"].pop("decontaminate")
    sections += ["## Recipe", f"```json\n{json.dumps({'seed': seed, 'synth': shown}, indent=2)}\n```"]
    return "\n\n".join(sections) + "\n"
