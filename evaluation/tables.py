"""Tables of pass@k with intervals and paired differences, and of every other view, for the console and Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluation.results import (
    BenchmarkScores,
    CurvePoint,
    Differences,
    LengthBin,
    ModelResult,
    Score,
    entries_of,
    groups_of,
    part_of,
    score_at,
)
from xcoder_core.terminal import cell, table_console

_WIDTH = 80
Entries = Mapping[str, BenchmarkScores]
"""By model, what scores.json holds of one benchmark."""
OUTCOMES = {
    "none": "right",
    "runtime": "runtime error",
    "time": "time limit",
    "memory": "memory limit",
    "output": "output limit",
    "syntax": "syntax error",
}


@dataclass(frozen=True)
class Table:
    """Text cells; the first column names the row. `ends_in_prose` where the last column holds words, not numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]
    ends_in_prose: bool = False


def score_tables(results: Mapping[str, ModelResult], differences: Differences) -> list[Table]:
    """One table per benchmark and k: pass@k of every model and the paired differences, in percent with 95 % intervals.

    `differences` is what `evaluate.compare` gives for the same results.
    """
    first = next(iter(results.values())).scores
    tables = []
    for name, benchmark in first["benchmarks"].items():
        entries, grouping = entries_of(results, name), benchmark["grouping"]
        for k in first["k"]:
            rows = []
            for group in (None, *benchmark["groups"]):
                scores = [part_of(score_at(each, k), grouping, group) for each in entries.values()]
                gains = [part_of(each[name][f"pass_at_{k}"], grouping, group) for each in differences.values()]
                changes = (percent(gain["difference"], gain["ci95"], signed=True) for gain in gains)
                rows.append([group or "all", str(scores[0]["problems"]), *map(_cell, scores), *changes])
            if len(rows) == 2 and rows[0][1:] == rows[1][1:]:  # the only group is all of it
                rows.pop()
            header = [grouping, "problems", *results, *differences]
            tables.append(Table(f"{name}: pass@{k}, % [95 % interval]", header, rows))
    return tables


def print_results(results: Mapping[str, ModelResult], differences: Differences) -> None:
    """Show scores, then differences, on standard output, each benchmark's description above; 80 columns hold them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    console = table_console()
    for name, benchmark in next(iter(results.values())).scores["benchmarks"].items():
        console.print(cell(benchmark["description"]), style="dim")
        shared: dict[tuple[str, bool], list[str]] = {}
        for label, result in results.items():
            for remark in remarks(result, name):
                shared.setdefault(remark, []).append(label)
        for (line, is_loud), labels in shared.items():
            console.print(cell(f"{', '.join(labels)}: {line}"), style="bold red" if is_loud else "dim")
    scores = range(2, 2 + len(results))
    gains = range(2 + len(results), 2 + len(results) + len(differences))
    for table in score_tables(results, differences):
        for title, columns in ((table.title, scores), ("paired differences on the same problems", gains)):
            for beside in _side_by_side(table, columns):
                shown = RichTable(
                    title=cell(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False
                )
                for place in (0, 1, *beside):
                    shown.add_column(cell(table.header[place]), justify="left" if place == 0 else "right", no_wrap=True)
                for row in table.rows:
                    shown.add_row(*(cell(row[place]) for place in (0, 1, *beside)))
                console.print(shown)


def _side_by_side(table: Table, columns: range) -> Iterator[list[int]]:
    """Split the columns into groups, each of which fits `_WIDTH` beside the first two columns."""

    def width(places: list[int]) -> int:  # rich parts columns by three spaces
        return 2 + sum(max(len(row[place]) for row in [table.header, *table.rows]) + 3 for place in (0, 1, *places)) - 3

    group: list[int] = []
    for place in columns:
        if group and width([*group, place]) > _WIDTH:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def remarks(result: ModelResult, benchmark: str) -> list[tuple[str, bool]]:
    """What must be read beside a model's score on a benchmark, and whether it is a warning."""
    entry = result.scores["benchmarks"][benchmark]
    average, status = entry["average_over_runs"], entry["decontamination"]
    lines = []
    if average["mean"] is not None:
        spread = "one run" if average["std"] is None else f"± {100 * average['std']:.1f} (standard deviation over runs)"
        lines.append((f"avg@{average['n']} {100 * average['mean']:.1f} % {spread}", False))
    lines.append((f"policy {result.scores['policy']}, extraction {result.scores['extraction']}", False))
    differences = result.scores.get("policy_differences")
    if differences is not None:
        counted = ", ".join(f"{verdicts}: {n}" for verdicts, n in differences["verdicts"].items()) or "none"
        count = f"{differences['programs']} programs ({differences['samples']} samples)"
        lines.append((f"the policies differ on {count} of all benchmarks; {counted}", False))
    is_unknown = status["status"] == "unknown"
    heading = "DECONTAMINATION UNKNOWN" if is_unknown else "decontamination"
    return [*lines, (f"{heading}: {status['said']}", is_unknown)]


def to_markdown(table: Table) -> str:
    """A pipe table; its title is not part of it."""
    rows = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def percent(value: float | None, interval: Sequence[float] | None, signed: bool = False) -> str:
    """A share as "41.2 [36.0, 46.5]" in percent, or a dash where there is none."""
    if value is None or interval is None:
        return "–"
    form = "{:+.1f}" if signed else "{:.1f}"
    mean, low, high = (form.format(100 * number + 0.0) for number in (value, *interval))
    return f"{mean} [{low}, {high}]"


def share(value: float | None) -> str:
    """A share in percent, or a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f} %"


def breakdowns_markdown(results: Mapping[str, ModelResult]) -> str:
    """All tables of all benchmarks as one Markdown text; the models must have been evaluated on the same ones."""
    first = next(iter(results.values())).scores
    ks, tables = first["k"], list[Table]()
    for name in first["benchmarks"]:
        entries = entries_of(results, name)
        tables.append(runs_table(name, entries))
        tables += grouping_tables(name, entries, ks, groupings_of(entries, ks))
        tables += [every_k_table(name, entries), length_table(name, entries), outcome_table(name, entries)]
        tables += policy_tables(name, entries, ks)
    return "\n".join(f"## {table.title}\n\n{to_markdown(table)}" for table in tables)


def groupings_of(entries: Entries, ks: Iterable[int]) -> list[str]:
    """The names of the groupings that there are, such as difficulty, platform and month."""
    score = score_at(next(iter(entries.values())), next(iter(ks)))
    return [key.removeprefix("by_") for key in score if key.startswith("by_")]


def runs_table(name: str, entries: Entries) -> Table:
    """avg@n and its standard deviation over runs."""
    rows = []
    for label, entry in entries.items():
        average = entry["average_over_runs"]
        shares = ("–" if value is None else f"{100 * value:.1f}" for value in (average["mean"], average["std"]))
        rows.append([label, str(average["n"]), *shares])
    return Table(f"{name}: avg@n over runs, %", ["model", "n", "mean", "standard deviation"], rows)


def grouping_tables(name: str, entries: Entries, ks: Iterable[int], groupings: Iterable[str]) -> list[Table]:
    """pass@k by each grouping, a table for each k."""
    tables = []
    for k in ks:
        for grouping in groupings:
            parts = [groups_of(score_at(entry, k), grouping) for entry in entries.values()]
            rows = [
                [group, str(first["problems"]), *(_cell(part[group]) for part in parts)]
                for group, first in parts[0].items()
            ]
            title = f"{name}: pass@{k} by {grouping}, % [95 % interval]"
            tables.append(Table(title, [grouping, "problems", *entries], rows))
    return tables


def every_k_table(name: str, entries: Entries) -> Table:
    """pass@k for each k up to the samples that there are."""
    curves = [entry["pass_at_every_k"] for entry in entries.values()]
    rows = [
        [str(k), *(_cell(curve[k - 1]) if k <= len(curve) else "–" for curve in curves)]
        for k in range(1, max(map(len, curves)) + 1)
    ]
    return Table(f"{name}: pass@k for every k, % [95 % interval]", ["k", *entries], rows)


def length_table(name: str, entries: Entries) -> Table:
    """The share of right samples by length of the response, and how many samples are that long."""
    rows = []
    for (start, below), parts in length_bins(entries).items():
        tokens = f"{start:,} or more" if below is None else f"{start:,}–{below - 1:,}"
        cells = (part and f"{percent(part['share'], part['ci95'])} of {part['samples']:,}" for part in parts.values())
        rows.append([tokens, *(text or "–" for text in cells)])
    title = f"{name}: right samples by tokens of the response, % [95 % interval] of samples"
    return Table(title, ["tokens", *entries], rows)


def length_bins(entries: Entries) -> dict[tuple[int, int | None], dict[str, LengthBin | None]]:
    """(first length, length of the next bin) -> model -> its bin, or None where none of its responses is that long."""
    bins = {label: {(part["from"], part["below"]): part for part in e["by_length"]} for label, e in entries.items()}
    edges = sorted({edge for parts in bins.values() for edge in parts})
    return {edge: {label: parts.get(edge) for label, parts in bins.items()} for edge in edges}


def policy_tables(name: str, entries: Entries, ks: Iterable[int]) -> list[Table]:
    """pass@k under each verdict policy, where there are several: a table for each k."""
    tables = []
    policies = next(iter(entries.values())).get("policies", {})
    title = "under each verdict policy, % [95 % interval]"
    for k in ks if policies else ():
        rows = [
            [policy, *(_cell(score_at(entry["policies"][policy], k)) for entry in entries.values())]
            for policy in policies
        ]
        tables.append(Table(f"{name}: pass@{k} {title}", ["policy", *entries], rows))
    return tables


def outcome_table(name: str, entries: Entries) -> Table:
    """What became of the samples, in numbers."""
    rows = [
        [outcome_name(kind), *(str(entry["failures"][kind]) for entry in entries.values())]
        for kind in next(iter(entries.values()))["failures"]
    ]
    return Table(f"{name}: what became of the samples", ["outcome", *entries], rows)


def outcome_name(kind: str) -> str:
    """An outcome of a sample in words."""
    return OUTCOMES.get(kind, kind.replace("_", " "))


def _cell(part: Score | CurvePoint) -> str:
    return percent(part["mean"], part["ci95"])
