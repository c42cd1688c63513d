"""Tables of every view beside the headline: runs, each k, groupings, response length, failures, policies."""

from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.results import ModelResult
from evaluation.tables import Table, percent, to_markdown

Entries = Mapping[str, dict[str, Any]]
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
        tables += [every_k_table(name, entries), length_table(name, entries), failure_table(name, entries)]
        tables += policy_tables(name, entries, ks)
    return tables


def entries_of(results: Mapping[str, ModelResult], name: str) -> dict[str, dict[str, Any]]:
    """What the models' scores hold of the benchmark `name`."""
    return {label: result.scores["benchmarks"][name] for label, result in results.items()}


def groupings_of(entries: Entries, ks: Iterable[int]) -> list[str]:
    """The names of the groupings that there are, such as difficulty, platform and month."""
    score = next(iter(entries.values()))[f"pass_at_{next(iter(ks))}"]
    return [key.removeprefix("by_") for key in score if key.startswith("by_")]


def runs_table(name: str, entries: Entries) -> Table:
    """avg@n and its standard deviation over runs."""
    averages = {label: entry["average_over_runs"] for label, entry in entries.items()}
    rows = [
        [label, str(a["n"]), *("–" if a[part] is None else f"{100 * a[part]:.1f}" for part in ("mean", "std"))]
        for label, a in averages.items()
    ]
    return Table(f"{name}: avg@n over runs, %", ["model", "n", "mean", "standard deviation"], rows)


def grouping_tables(name: str, entries: Entries, ks: Iterable[int], groupings: Iterable[str]) -> list[Table]:
    """pass@k by each grouping, a table for each k."""
    tables = []
    for k in ks:
        scores = {label: entry[f"pass_at_{k}"] for label, entry in entries.items()}
        for grouping in groupings:
            by = f"by_{grouping}"
            rows = [
                [group, str(part["problems"]), *(_score(score[by][group]) for score in scores.values())]
                for group, part in next(iter(scores.values()))[by].items()
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


def length_bins(entries: Entries) -> dict[tuple[int, int | None], dict[str, dict[str, Any] | None]]:
    """(first length, length of the next bin) -> model -> its bin, or None where none of its responses is that long."""
    bins = {label: {(part["from"], part["below"]): part for part in e["by_length"]} for label, e in entries.items()}
    edges = sorted({edge for parts in bins.values() for edge in parts})
    return {edge: {label: parts.get(edge) for label, parts in bins.items()} for edge in edges}


def failure_table(name: str, entries: Entries) -> Table:
    """What became of the samples, in numbers."""
    rows = [
        [outcome_name(kind), *(str(entry["failures"][kind]) for entry in entries.values())]
        for kind in next(iter(entries.values()))["failures"]
    ]
    return Table(f"{name}: what became of the samples", ["outcome", *entries], rows)


def policy_tables(name: str, entries: Entries, ks: Iterable[int]) -> list[Table]:
    """pass@k under each verdict policy, where there are several: a table for each k."""
    policies = next(iter(entries.values())).get("policies", {})
    return [
        Table(
            f"{name}: pass@{k} under each verdict policy, % [95 % interval]",
            ["policy", *entries],
            [
                [policy, *(_score(entry["policies"][policy][f"pass_at_{k}"]) for entry in entries.values())]
                for policy in policies
            ],
        )
        for k in ks
        if policies
    ]


def outcome_name(kind: str) -> str:
    """An outcome of a sample in words."""
    return OUTCOMES.get(kind, kind.replace("_", " "))


def _score(part: Mapping[str, Any]) -> str:
    return percent(part["mean"], part["ci95"])
