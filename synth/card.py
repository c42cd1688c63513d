"""The card of a dataset: a README that the dataset's folder carries, with the metadata block that dataset hubs read."""

import json
from collections.abc import Mapping
from typing import Any

from synth.config import LANGUAGE_MODEL_SECTIONS, SynthSettings
from synth.funnel import Funnel, SplitFunnel, steps
from synth.published.files import HUB_IDS
from xcoder_core.terminal import harmless

_WHAT = {
    "sft": (
        "Conversations for supervised fine-tuning: one row per accepted solution, that is, one that passes every "
        "labelled test of its problem. `rank` orders the solutions of a problem, the golden one first. `pass_rate` is "
        "the share of the problem's candidate solutions that passed every test, `difficulty` its bin."
    ),
    "rl": (
        "Prompts for reinforcement learning with a judge. A row carries `problem_id` and no tests; those stand in "
        "`tests.parquet`, which is published beside the rows. `pass_rate` is the share of candidate solutions that "
        "passed every test, `difficulty` its bin; `solvable` says whether any candidate passed them all."
    ),
}
_WHAT_IS_IMPORTED = {
    "sft": (
        "Conversations for supervised fine-tuning, one row per distinct program of a problem. Answers are as "
        "published, reasoning included; they were not judged here, so no row is marked as golden."
    ),
    "rl": (
        "Prompts for reinforcement learning with a judge. A row carries `problem_id` and no tests; those stand in "
        "`tests.parquet` of the same run."
    ),
}

_FILES = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.parquet\n---"


def write_card(use: str, rows: int, settings: SynthSettings, seed: int, funnels: dict[str, SplitFunnel]) -> str:
    """The card of the dataset of `use`, as Markdown."""
    ours = {name: funnel for name, funnel in funnels.items() if settings.splits[name].use == use}
    sections = [
        f"---\nlicense: apache-2.0\nlanguage: en\ntags:\n- code\n- synthetic\n{_FILES}",
        f"# Synthetic programming tasks: {use}",
        _WHAT[use] + f" {rows:,} rows.",
        "Tasks, inputs and candidate solutions come from a teacher; labels are elected by the candidates and never "
        "taken from the teacher's truth (dual verification, X-Coder, arXiv 2601.06953). Evaluation splits use feature "
        "combinations that occur in no training split, and near-duplicates of evaluation tasks were removed.",
    ]
    for name, funnel in ours.items():
        sections += [f"## Split `{name}`", _table(funnel), _confidence(funnel)]
    is_procedural = settings.teacher.kind == "procedural"
    # The data are the same with any of the first four; the rest names places of the one who made the data, or says
    # nothing of this teacher.
    without: dict[str, Any] = dict.fromkeys(("executor", "imports", "expected", "push_to"), True)
    without["cleaning"] = {"decontaminate"}
    if is_procedural:
        without |= dict.fromkeys(LANGUAGE_MODEL_SECTIONS, True)
    else:
        without |= {"teacher": {"server": {"base_url", "api_key_env"}}, "features": {"source": {"path"}}}
    shown = settings.model_dump(mode="json", exclude=without)
    terms = "." if is_procedural else "; the terms of the model that wrote them may add to this."
    sections += [*_recipe(seed, shown), "## Licence", f"Apache-2.0. The data are wholly synthetic{terms}"]
    return "\n\n".join(sections) + "\n"


def write_import_card(use: str, rows: int, settings: SynthSettings, seed: int, funnels: Mapping[str, Funnel]) -> str:
    """The card of the imported dataset of `use`."""
    ours = [item for item in settings.imports if item.use == use]
    sources = ", ".join(f"{HUB_IDS[item.source]} (`{item.part}`)" for item in ours)
    sections = [
        f"---\nlanguage: en\ntags:\n- code\n{_FILES}",
        f"# Imported programming tasks: {use}",
        f"{_WHAT_IS_IMPORTED[use]} {rows:,} rows, imported from {sources}. Their licence is that of the set they come "
        "from.",
    ]
    for item in ours:
        sections += [f"## Split `{item.split}`", _table(funnels[item.split])]
    shown = settings.model_dump(mode="json", include={"imports", "cleaning", "solutions_per_task", "limit_seconds"})
    for item in shown["import"]:
        item.pop("path")  # of the one who made the data
    shown["cleaning"].pop("decontaminate")
    return "\n\n".join([*sections, *_recipe(seed, shown)]) + "\n"


def _table(funnel: Funnel) -> str:
    """A reason may repeat what a model wrote, which would otherwise end the cell or steer a terminal."""
    cells = [(harmless(name).replace("|", "\\|"), count) for name, (count,) in steps(funnel)]
    return "\n".join(["| step | count |", "|---|---:|", *(f"| {name} | {count:,} |" for name, count in cells)])


def _recipe(seed: int, shown: dict[str, object]) -> list[str]:
    return ["## Recipe", f"```json\n{json.dumps({'seed': seed, 'synth': shown}, indent=2)}\n```"]


def _confidence(funnel: SplitFunnel) -> str:
    if not funnel.kept:
        return "No task was kept."
    agreement = (
        f"Label confidence: the winning answer has {funnel.agreement / funnel.tests:.1%} of the candidates' votes."
    )
    if funnel.labels_right is None or funnel.golden_right is None:
        return f"{agreement} The truth is not known for tasks that a language model wrote."
    return (
        f"{agreement} Measured against the known truth, labels are right on "
        f"{funnel.labels_right / funnel.tests:.2%} of the tests and golden solutions on all inputs of "
        f"{funnel.golden_right / funnel.kept:.2%} of the tasks."
    )
