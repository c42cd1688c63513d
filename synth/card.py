"""The dataset card of a published dataset: a README that the dataset's folder carries."""

import json
from pathlib import Path
from typing import Any

from synth.config import LANGUAGE_MODEL_SECTIONS, SynthSettings
from synth.funnel import SplitFunnel
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


_PRIVATE: dict[str, Any] = {"teacher": {"server": {"base_url", "api_key_env"}}, "features": {"source": {"path"}}}
"""Settings that name places of the one who made the data."""


def write_card(use: str, rows: int, settings: SynthSettings, seed: int, funnels: dict[str, SplitFunnel]) -> str:
    """The card of the dataset of `use`, as Markdown with the metadata block that dataset hubs read."""
    ours = {name: funnel for name, funnel in funnels.items() if settings.splits[name].use == use}
    sections = [
        "---\nlicense: apache-2.0\nlanguage: en\ntags:\n- code\n- synthetic\nconfigs:\n- config_name: default\n"
        "  data_files:\n  - split: train\n    path: train.parquet\n---",
        f"# Synthetic programming tasks: {use}",
        _WHAT[use] + f" {rows:,} rows.",
        "Tasks, inputs and candidate solutions come from a teacher; labels are elected by the candidates and never "
        "taken from the teacher's truth (dual verification, X-Coder, arXiv 2601.06953). Evaluation splits use feature "
        "combinations that occur in no training split, and near-duplicates of evaluation tasks were removed.",
    ]
    for name, funnel in ours.items():
        sections += [f"## Split `{name}`", _funnel_table(funnel), _confidence(funnel)]
    without: dict[str, Any] = (
        dict.fromkeys(LANGUAGE_MODEL_SECTIONS, True) if settings.teacher.kind == "procedural" else dict(_PRIVATE)
    )
    # The data are the same with any of these.
    without |= dict.fromkeys(("executor", "imports", "expected", "push_to"), True)
    without["cleaning"] = {"decontaminate"}  # places of the one who made the data
    recipe = json.dumps({"seed": seed, "synth": settings.model_dump(mode="json", exclude=without)}, indent=2)
    sections += ["## Recipe", f"```json\n{recipe}\n```", "## Licence", _licence(settings)]
    return "\n\n".join(sections) + "\n"


def _licence(settings: SynthSettings) -> str:
    if settings.teacher.kind == "procedural":
        return "Apache-2.0. The data are wholly synthetic."
    return "Apache-2.0. The data are wholly synthetic; the terms of the model that wrote them may add to this."


def card_path(dataset: Path) -> Path:
    """Where the card of a dataset folder stands."""
    return dataset / "README.md"


def _funnel_table(funnel: SplitFunnel) -> str:
    rows = [(f"set aside: {reason}", count) for reason, count in sorted(funnel.set_aside.items())]
    rows += [("tasks made", funnel.made)]
    rows += [(f"inputs refused: {reason}", count) for reason, count in sorted(funnel.refused_inputs.items())]
    rows += [(f"dropped: {reason}", count) for reason, count in sorted(funnel.dropped.items())]
    rows += [("tasks kept", funnel.kept), ("candidates asked", funnel.candidates)]
    rows += [(f"quarantined: {reason}", count) for reason, count in sorted(funnel.quarantined.items())]
    rows += [("accepted solutions", funnel.accepted), ("labelled tests", funnel.labels)]
    rows += [(f"kept in style {style}", count) for style, count in sorted(funnel.styles.items())]
    rows += [(f"kept of depth {depth}", count) for depth, count in sorted(funnel.depths.items())]
    return "\n".join(["| step | count |", "|---|---:|", *(f"| {_cell(name)} | {count:,} |" for name, count in rows)])


def _cell(reason: str) -> str:
    """A reason may repeat what a model wrote, which would otherwise end the cell or steer a terminal."""
    return harmless(reason).replace("|", "\\|")


def _confidence(funnel: SplitFunnel) -> str:
    if not funnel.kept:
        return "No task was kept."
    agreement = (
        f"Label confidence: the winning answer has {funnel.agreement / funnel.labels:.1%} of the candidates' votes."
    )
    if funnel.labels_right is None or funnel.golden_right is None:
        return f"{agreement} The truth is not known for tasks that a language model wrote."
    return (
        f"{agreement} Measured against the known truth, labels are right on "
        f"{funnel.labels_right / funnel.labels:.2%} of the tests and golden solutions on all inputs of "
        f"{funnel.golden_right / funnel.kept:.2%} of the tasks."
    )
