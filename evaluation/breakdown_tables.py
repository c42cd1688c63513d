"""Tables of every view beside the headline: runs, each k, groupings, response length, failures, policies."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.results import ModelResult
from evaluation.tables import Table, percent, to_markdown

Entries = Mapping[str, dict[str, Any]]
"""By model, what scores.json holds of one benchmark."""


def breakdowns_markdown(results: Mapping[str, ModelResult]) -> str:
    """All tables of all benchmarks as one Markdown text."""
    return "\n".join(f"## {table.title}\n\n{to_markdown(table)}" for table in breakdown_tables(results))


def breakdown_tables(results: Mapping[str, ModelResult]) -> list[Table]:
    """The tables of every benchmark; the models must have been evaluated on the same ones with the same k."""
    first = next(iter(results.values())).scores
    tables: list[Table] = []
    for name in first["benchmarks"]:
        entries = {label: result.scores["benchmarks"][name] for label, result in results.items()}
        tables.append(_runs(name, entries))
        tables += [table for k in first["k"] for table in _groupings(name, entries, k)]
        tables += [_every_k(name, entries), *_lengths(name, entries), _failures(name, entries)]
        policies = first["benchmarks"][name].get("policies", {})
        tables += [_policy(name, entries, policy, first["k"]) for policy in policies]
    return tables


def _runs(name: str, entries: Entries) -> Table:
    averages = {label: entry["average_over_runs"] for label, entry in entries.items()}
    rows = [
        [label, str(a["n"]), *("–" if a[part] is None else f"{100 * a[part]:.1f}" for part in ("mean", "std"))]
        for label, a in averages.items()
    ]
    return Table(f"{name}: avg@n over runs, %", ["model", "n", "mean", "standard deviation"], rows)


def _groupings(name: str, entries: Entries, k: int) -> Iterator[Table]:
    scores = {label: entry[f"pass_at_{k}"] for label, entry in entries.items()}
    first = next(iter(scores.values()))
    for by in (key for key in first if key.startswith("by_")):
        rows = [
            [group, str(part["problems"]), *(_score(score[by][group]) for score in scores.values())]
            for group, part in first[by].items()
        ]
        grouping = by.removeprefix("by_")
        yield Table(f"{name}: pass@{k} by {grouping}, % [95 % interval]", [grouping, "problems", *entries], rows)


def _every_k(name: str, entries: Entries) -> Table:
    curves = [entry["pass_at_every_k"] for entry in entries.values()]
    rows = [
        [str(k), *(_score(curve[k - 1]) if k <= len(curve) else "–" for curve in curves)]
        for k in range(1, max(map(len, curves)) + 1)
    ]
    return Table(f"{name}: pass@k, % [95 % interval]", ["k", *entries], rows)


def _lengths(name: str, entries: Entries) -> Iterator[Table]:
    for label, entry in entries.items():
        rows = [
            [
                f"{part['from']}–{'' if part['below'] is None else part['below'] - 1}",
                str(part["samples"]),
                percent(part["share"], part["ci95"]),
            ]
            for part in entry["by_length"]
        ]
        header = ["tokens", "samples", "right, % [95 % interval]"]
        yield Table(f"{name}: right samples of {label} by response length", header, rows)


def _failures(name: str, entries: Entries) -> Table:
    rows = [
        ["right" if kind == "none" else kind.replace("_", " "), *(str(e["failures"][kind]) for e in entries.values())]
        for kind in next(iter(entries.values()))["failures"]
    ]
    return Table(f"{name}: what became of the samples", ["outcome", *entries], rows)


def _policy(name: str, entries: Entries, policy: str, ks: list[int]) -> Table:
    rows = [
        [f"pass@{k}", *(_score(entry["policies"][policy][f"pass_at_{k}"]) for entry in entries.values())] for k in ks
    ]
    return Table(f"{name}: under the policy {policy}, % [95 % interval]", ["score", *entries], rows)


def _score(part: Mapping[str, Any]) -> str:
    return percent(part["mean"], part["ci95"])
