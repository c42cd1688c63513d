"""Tables of every view beside the headline: runs, each k, groupings, response length, failures, policies."""

from collections.abc import Iterable, Mapping

from evaluation.results import ModelResult, entries_of
from evaluation.score_file import BenchmarkScores, CurvePoint, LengthBin, Score, groups_of, score_at
from evaluation.tables import Table, percent, to_markdown

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


def breakdowns_markdown(results: Mapping[str, ModelResult]) -> str:
    """All tables of all benchmarks as one Markdown text."""
    return "\n".join(f"## {table.title}\n\n{to_markdown(table)}" for table in breakdown_tables(results))


def breakdown_tables(results: Mapping[str, ModelResult]) -> list[Table]:
    """The tables of every benchmark; the models must have been evaluated on the same ones with the same k."""
    first = next(iter(results.values())).scores
    ks, tables = first["k"], list[Table]()
    for name in first["benchmarks"]:
        entries = entries_of(results, name)
        tables.append(runs_table(name, entries))
        tables += grouping_tables(name, entries, ks, groupings_of(entries, ks))
        tables += [every_k_table(name, entries), length_table(name, entries), outcome_table(name, entries)]
        tables += policy_tables(name, entries, ks)
    return tables


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
                [group, str(first["problems"]), *(_score(part[group]) for part in parts)]
                for group, first in parts[0].items()
            ]
            title = f"{name}: pass@{k} by {grouping}, % [95 % interval]"
            tables.append(Table(title, [grouping, "problems", *entries], rows))
    return tables


def every_k_table(name: str, entries: Entries) -> Table:
    """pass@k for each k up to the samples that there are."""
    curves = [entry["pass_at_every_k"] for entry in entries.values()]
    rows = [
        [str(k), *(_score(curve[k - 1]) if k <= len(curve) else "–" for curve in curves)]
        for k in range(1, max(map(len, curves)) + 1)
    ]
    return Table(f"{name}: pass@k for every k, % [95 % interval]", ["k", *entries], rows)


def length_table(name: str, entries: Entries) -> Table:
    """The share of right samples by length of the response, and how many samples are that long."""
    bins = length_bins(entries)
    rows = [
        [
            f"{start:,} or more" if below is None else f"{start:,}–{below - 1:,}",
            *(
                "–" if part is None else f"{percent(part['share'], part['ci95'])} of {part['samples']:,}"
                for part in parts.values()
            ),
        ]
        for (start, below), parts in bins.items()
    ]
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
    for k in ks if "policies" in next(iter(entries.values())) else ():
        rows = [
            [policy, *(_score(score_at(entry["policies"][policy], k)) for entry in entries.values())]
            for policy in next(iter(entries.values()))["policies"]
        ]
        tables.append(
            Table(f"{name}: pass@{k} under each verdict policy, % [95 % interval]", ["policy", *entries], rows)
        )
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


def _score(part: Score | CurvePoint) -> str:
    return percent(part["mean"], part["ci95"])
