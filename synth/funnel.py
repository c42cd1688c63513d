"""What became of everything that was made: counted from the tables, so that a resumed run counts the same."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from synth.config import SynthSettings
from synth.tables import Candidate, Execution, Quarantined, Removal, Task, Verdict, WorkTables, beside
from xcoder_train.core.records import read_records


@dataclass
class SplitFunnel:
    """Counts of one split. `made` = `kept` + the sum of `dropped`; `labels` and `right` are those of kept tasks."""

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
    labels_right: int = 0
    golden_right: int = 0
    agreement: float = 0.0
    styles: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    accepted: int = 0

    def as_json(self) -> dict[str, Any]:
        """The funnel as JSON values; shares are rounded to four places, None where there is nothing to share."""
        return {
            "made": self.made,
            "draws": self.draws,
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
        read_records(tables.candidates, Candidate),
        read_records(tables.executions, Execution),
        read_records(tables.verdicts, Verdict),
    )
    for task, candidates, executions, (verdict,) in rows:
        funnel = funnels[task.split]
        funnel.made += 1
        funnel.draws += task.draws
        funnel.candidates += len(candidates)
        funnel.programs += len(executions)
        for execution in executions:
            funnel.statuses.update(execution.statuses)
        reason = verdict.reason or removed.get(task.task_id)
        if reason is not None:
            funnel.dropped[reason] += 1
            continue
        funnel.kept += 1
        funnel.inputs_of_kept += settings.inputs_per_task
        funnel.labels += len(verdict.labels)
        funnel.labels_right += verdict.labels_right
        funnel.golden_right += verdict.golden_right
        funnel.accepted += sum(passed == len(verdict.labels) for passed in verdict.passed)
        funnel.agreement += sum(verdict.agreements)
        funnel.styles[task.problem.style] += 1
        funnel.depths[task.depth] += 1
    for quarantined in read_records(tables.quarantine, Quarantined):
        if quarantined.index >= 0:
            funnels[quarantined.split].quarantined[quarantined.reason] += 1
    return funnels


def print_funnel(funnels: dict[str, SplitFunnel]) -> None:
    """One table on standard error: a column per split, a row per step."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *funnels, title="Synthesis", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(name: str, *cells: str) -> None:
        table.add_row(name, *cells)

    def counts(name: str, values: list[int]) -> None:
        row(name, *(f"{value:,}" for value in values))

    splits = list(funnels.values())
    counts("tasks made", [split.made for split in splits])
    counts("candidates asked", [split.candidates for split in splits])
    for reason in sorted(set().union(*(split.quarantined for split in splits))):
        counts(f"  quarantined: {reason}", [split.quarantined[reason] for split in splits])
    counts("distinct programs run", [split.programs for split in splits])
    for reason in sorted(set().union(*(split.dropped for split in splits))):
        counts(f"  tasks dropped: {reason}", [split.dropped[reason] for split in splits])
    counts("tasks kept", [split.kept for split in splits])
    counts("solutions accepted", [split.accepted for split in splits])
    counts("tests labelled", [split.labels for split in splits])
    row("labels right", *(_percent(split.labels_right, split.labels) for split in splits))
    row("golden right", *(_percent(split.golden_right, split.kept) for split in splits))
    console = Console(stderr=True)
    console.print(table, width=None if console.is_terminal else 200)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"
