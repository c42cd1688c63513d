"""What became of everything that was made, counted from the tables, so that a resumed run counts the same.

It is shown on the terminal and on the card of a dataset: a README that the dataset's folder carries, with the metadata
block that dataset hubs read.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from synth.config import LANGUAGE_MODEL_SECTIONS, SynthSettings
from synth.published.files import HUB_IDS
from synth.tables import Quarantined, Removal, WorkTables
from xcoder_core.errors import InputError
from xcoder_core.records import read_records
from xcoder_core.terminal import cell, harmless, table_console


class Funnel(Protocol):
    """Counts of one split. `STEPS` has the fields that a reader is shown, from the first step to the last.

    A field that counts by reason is a step for each reason, whose name follows on the words here.
    """

    STEPS: ClassVar[dict[str, str]]
    kept: int
    set_aside: Counter[str]
    dropped: Counter[str]


def steps(*funnels: Funnel) -> Iterator[tuple[str, list[int]]]:
    """Each step of funnels of one kind, with its count in every one of them."""
    for name, words in funnels[0].STEPS.items():
        counts = [getattr(funnel, name) for funnel in funnels]
        if isinstance(counts[0], Counter):
            for reason in sorted(set().union(*counts)):
                yield f"{words}{reason}", [count[reason] for count in counts]
        else:
            yield words, counts


def plain_counts(funnel: Funnel) -> dict[str, object]:
    """The fields of a funnel as JSON values, counts by reason in the order of the reasons."""
    return {
        name: {str(reason): count[reason] for reason in sorted(count)} if isinstance(count, Counter) else count
        for name, count in vars(funnel).items()
    }


@dataclass
class SplitFunnel:
    """Counts of one split; `made` = `kept` + the sum of `dropped`. Tests, labels and golden solutions are kept ones.

    `set_aside` counts unusable answers of a language model, by question and reason; their tasks were never made. The
    `right` counts are None where the truth is not known.
    """

    STEPS: ClassVar[dict[str, str]] = {
        "set_aside": "set aside: ",
        "made": "tasks made",
        "refused_inputs": "inputs refused: ",
        "dropped": "dropped: ",
        "kept": "tasks kept",
        "candidates": "candidates asked",
        "quarantined": "quarantined: ",
        "accepted_solutions": "accepted solutions",
        "tests": "labelled tests",
        "styles": "kept in style ",
        "depths": "kept of depth ",
    }

    set_aside: Counter[str] = field(default_factory=Counter)
    made: int = 0
    draws: int = 0
    refused_inputs: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    programs: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    accepted_solutions: int = 0
    tests: int = 0
    inputs_without_label: int = 0
    agreement: float = 0.0
    labels_right: int | None = 0
    golden_right: int | None = 0
    styles: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """The funnel as JSON values; shares are rounded to four places, None where there is nothing to share."""
        shares = {
            "agreement": ("mean_agreement", _share(self.agreement, self.tests)),
            "labels_right": ("labels_right", _share(self.labels_right, self.tests)),
            "golden_right": ("golden_right", _share(self.golden_right, self.kept)),
        }
        return dict(shares.get(name, (name, count)) for name, count in plain_counts(self).items())


def count_funnel(settings: SynthSettings, tables: WorkTables) -> dict[str, SplitFunnel]:
    """The funnel of every split, in the order of the recipe."""
    funnels = {name: SplitFunnel() for name in settings.splits}
    removed = {removal.task_id: removal.reason for removal in read_records(tables.removals, Removal)}
    rows = tables.by_task("inputs", "candidates", "executions", "verdicts")
    for task, (given,), candidates, executions, (verdict,) in rows:
        funnel = funnels[task.split]
        funnel.made += 1
        funnel.draws += task.draws
        funnel.refused_inputs.update(reason.partition(":")[0] for reason in given.refused)
        funnel.candidates += len(candidates)
        funnel.programs += len(executions)
        for execution in executions:
            funnel.runs.update(execution.statuses)
        reason = verdict.reason or removed.get(task.task_id)
        if reason is not None:
            funnel.dropped[reason] += 1
            continue
        funnel.kept += 1
        funnel.tests += len(verdict.labels)
        funnel.inputs_without_label += len(given.inputs) - len(verdict.labels)
        funnel.labels_right = _add(funnel.labels_right, verdict.labels_right)
        funnel.golden_right = _add(funnel.golden_right, verdict.golden_right)
        funnel.accepted_solutions += sum(passed == len(verdict.labels) for passed in verdict.passed)
        funnel.agreement += sum(verdict.agreements)
        funnel.styles[task.problem.style] += 1
        funnel.depths[task.depth] += 1
    for quarantined in read_records(tables.quarantine, Quarantined):
        if quarantined.index >= 0:
            funnels[quarantined.split].quarantined[quarantined.reason.partition(":")[0]] += 1
    for stage in ("tasks", "inputs"):
        for answer in read_records(tables.set_aside(stage), Quarantined):
            funnels[answer.split].set_aside[answer.reason.partition(":")[0]] += 1
    return funnels


def print_funnel(funnels: dict[str, SplitFunnel]) -> None:
    """One table on standard error: a column per split, a row per step."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="Synthesis", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for name in funnels:
        table.add_column(name, justify="right", overflow="fold")
    splits = funnels.values()
    for step, counts in [*steps(*splits), ("distinct programs run", [split.programs for split in splits])]:
        table.add_row(cell(step), *(f"{count:,}" for count in counts))  # a reason may repeat what a model wrote
    table.add_row("labels right", *(_percent(split.labels_right, split.tests) for split in splits))
    table.add_row("golden right", *(_percent(split.golden_right, split.kept) for split in splits))
    table_console(stderr=True).print(table)


def refuse_nothing_kept(funnels: Collection[Funnel], folder: Path) -> None:
    """Raise `InputError` with the reasons where no split has anything for a later stage."""
    if not any(funnel.kept for funnel in funnels):
        reasons = sum((funnel.set_aside + funnel.dropped for funnel in funnels), Counter[str]())
        most_frequent = [f"{reason} ({count:,})" for reason, count in reasons.most_common(3)] or ["no task was made"]
        raise InputError(
            f"synthesis kept no task at all. The most frequent reasons: {'; '.join(most_frequent)}. What was asked and "
            f"run is kept in {folder}; change the settings that these reasons name, or the teacher"
        )


def _add(count: int | None, more: int | None) -> int | None:
    return None if count is None or more is None else count + more


def _share(part: float | None, total: int) -> float | None:
    return round(part / total, 4) if part is not None and total else None


def _percent(part: int | None, total: int) -> str:
    return f"{100 * part / total:.2f} %" if part is not None and total else "–"


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
    share = funnel.agreement / funnel.tests
    agreement = f"Label confidence: the winning answer has {share:.1%} of the candidates' votes."
    if funnel.labels_right is None or funnel.golden_right is None:
        return f"{agreement} The truth is not known for tasks that a language model wrote."
    return (
        f"{agreement} Measured against the known truth, labels are right on "
        f"{funnel.labels_right / funnel.tests:.2%} of the tests and golden solutions on all inputs of "
        f"{funnel.golden_right / funnel.kept:.2%} of the tasks."
    )
