"""What became of everything that was made: counted from the tables, so that a resumed run counts the same."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.config import SynthSettings
from synth.tables import Candidate, Execution, Quarantined, Removal, Task, TaskInputs, Verdict, WorkTables, beside
from xcoder_train.core.errors import InputError
from xcoder_train.core.records import read_records
from xcoder_train.core.table_console import table_console
from xcoder_train.core.terminal import cell, harmless

# In the order of the table. An import has rows where a teacher has candidates.
_STEPS = {
    "rows": "rows read",
    "set_aside": "set aside",
    "rows_merged": "rows of a task that is there",
    "made": "tasks made",
    "refused_inputs": "inputs refused",
    "candidates": "candidates asked",
    "quarantined": "quarantined",
    "programs": "distinct programs run",
    "dropped": "tasks dropped",
    "kept": "tasks kept",
    "accepted_solutions": "solutions accepted",
    "tests": "tests labelled",
    "tests_in_conflict": "tests in conflict",
    "labels_right": "labels right",
    "golden_right": "golden right",
}
_BY_REASON = ("set_aside", "refused_inputs", "quarantined", "dropped")
_REASONS_TOLD = 5


@dataclass
class SplitFunnel:
    """Counts of one split. `made` = `kept` + the sum of `dropped`; `labels` and `right` are those of kept tasks.

    `set_aside` counts answers of a language model that could not be used, by what was asked and why; those that were
    to be tasks were never made. `right` counts are None where the truth is not known.
    """

    set_aside: Counter[str] = field(default_factory=Counter)
    refused_inputs: Counter[str] = field(default_factory=Counter)
    made: int = 0
    draws: int = 0
    candidates: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    programs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    inputs_of_kept: int = 0
    labels: int = 0
    labels_right: int | None = 0
    golden_right: int | None = 0
    agreement: float = 0.0
    styles: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    accepted: int = 0

    def as_json(self) -> dict[str, Any]:
        """The funnel as JSON values; shares are rounded to four places, None where there is nothing to share."""
        return {
            "set_aside": _sorted(self.set_aside),
            "made": self.made,
            "draws": self.draws,
            "refused_inputs": _sorted(self.refused_inputs),
            "candidates": self.candidates,
            "quarantined": _sorted(self.quarantined),
            "programs": self.programs,
            "runs": _sorted(self.statuses),
            "dropped": _sorted(self.dropped),
            "kept": self.kept,
            "accepted_solutions": self.accepted,
            "tests": self.labels,
            "inputs_without_label": self.inputs_of_kept - self.labels,
            "mean_agreement": _share(self.agreement, self.labels),
            "labels_right": _share(self.labels_right, self.labels),
            "golden_right": _share(self.golden_right, self.kept),
            "styles": _sorted(self.styles),
            "depths": {str(depth): count for depth, count in sorted(self.depths.items())},
        }


def count_funnel(settings: SynthSettings, tables: WorkTables) -> dict[str, SplitFunnel]:
    """The funnel of every split, in the order of the recipe."""
    funnels = {name: SplitFunnel() for name in settings.splits}
    removed = {removal.task_id: removal.reason for removal in read_records(tables.removals, Removal)}
    rows = beside(
        read_records(tables.tasks, Task),
        read_records(tables.inputs, TaskInputs),
        read_records(tables.candidates, Candidate),
        read_records(tables.executions, Execution),
        read_records(tables.verdicts, Verdict),
    )
    for task, (given,), candidates, executions, (verdict,) in rows:
        funnel = funnels[task.split]
        funnel.made += 1
        funnel.draws += task.draws
        funnel.refused_inputs.update(reason.partition(":")[0] for reason in given.refused)
        funnel.candidates += len(candidates)
        funnel.programs += len(executions)
        for execution in executions:
            funnel.statuses.update(execution.statuses)
        reason = verdict.reason or removed.get(task.task_id)
        if reason is not None:
            funnel.dropped[reason] += 1
            continue
        funnel.kept += 1
        funnel.inputs_of_kept += len(given.inputs)
        funnel.labels += len(verdict.labels)
        funnel.labels_right = _add(funnel.labels_right, verdict.labels_right)
        funnel.golden_right = _add(funnel.golden_right, verdict.golden_right)
        funnel.accepted += sum(passed == len(verdict.labels) for passed in verdict.passed)
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


def print_funnel(funnel: dict[str, dict[str, Any]]) -> None:
    """One table on standard error: a column per split, a row per step that any split has (`as_json`, or an import)."""
    from rich.box import SIMPLE_HEAD
    from rich.padding import Padding
    from rich.table import Table

    table = Table(title="Synthesis", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for name in funnel:
        table.add_column(name, justify="right", overflow="fold")
    splits = list(funnel.values())

    def row(name: str, cells: list[str]) -> None:
        label = name.lstrip()  # what does not fit goes on in the next line, as far in as it began
        # A reason may repeat what a model wrote.
        table.add_row(Padding(cell(label), (0, 0, 0, len(name) - len(label))), *cells)

    for key, name in _STEPS.items():
        if key in _BY_REASON:
            for reason in sorted({reason for split in splits for reason in split.get(key, {})}):
                row(f"  {name}: {reason}", [f"{split.get(key, {}).get(reason, 0):,}" for split in splits])
        elif any(key in split for split in splits):
            shown = _percent if key in ("labels_right", "golden_right") else "{:,}".format
            row(name, [shown(split[key]) for split in splits])
    table_console(stderr=True).print(table)


def refuse_nothing_kept(funnel: dict[str, dict[str, Any]], folder: Path) -> None:
    """Raise `InputError` for splits of which nothing was kept: no later stage could use them."""
    empty = {name: split for name, split in funnel.items() if not split["kept"]}
    if not empty:
        return
    told = []
    for name, split in empty.items():
        reasons: Counter[str] = Counter()
        for key in _BY_REASON:
            reasons.update({f"{_STEPS[key]}: {reason}": count for reason, count in split.get(key, {}).items()})
        most = "; ".join(f"{harmless(reason)} ({count:,})" for reason, count in reasons.most_common(_REASONS_TOLD))
        told.append(f"  {name}: 0 of {split['made']:,} tasks kept. {most or 'Nothing was left out on the way'}\n")
    raise InputError(
        "nothing was kept of the synthesis, so there is nothing to train on or measure:\n"
        f"{''.join(told)}Everything that was made is kept in {folder}, and the same command asks for none of it again; "
        "it ends here again. Mend what the reasons name (another teacher, more tasks, looser verification or "
        "cleaning) under a new name=…"
    )


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _add(count: int | None, more: int | None) -> int | None:
    return None if count is None or more is None else count + more


def _share(part: float | None, whole: int) -> float | None:
    return round(part / whole, 4) if part is not None and whole else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"
