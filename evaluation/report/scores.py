"""The report's part on scores: for each benchmark what a reader looks for first, and the rest folded away."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from evaluation.report.examples import PolicyProgram, choose_programs
from evaluation.report.plots import Figure, every_k_plot, group_plot
from evaluation.results import (
    CurvePoint,
    Difference,
    Differences,
    ModelResult,
    Score,
    entries_of,
    groups_of,
    part_of,
    score_at,
)
from evaluation.tables import (
    Entries,
    Table,
    every_k_table,
    grouping_tables,
    groupings_of,
    length_bins,
    length_table,
    outcome_name,
    policy_tables,
    runs_table,
    score_tables,
    share,
)

MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class BenchmarkPart:
    """All of one benchmark. `alarms` are what must not be overlooked, `notes` what else belongs to a score.

    `folds` holds tables by title that are shown when a reader asks for them, and in print.
    """

    name: str
    description: str
    entries: Entries
    alarms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folds: dict[str, list[Table]] = field(default_factory=dict)
    policies: str = ""
    programs: list[PolicyProgram] = field(default_factory=list)
    programs_left_out: int = 0


def benchmark_parts(results: Mapping[str, ModelResult], differences: Differences) -> list[BenchmarkPart]:
    """One part per benchmark. `differences` is what `evaluate.compare` gives for the same results."""
    first = next(iter(results.values())).scores
    compared, ks = score_tables(results, differences), first["k"]
    parts = []
    for place, (name, benchmark) in enumerate(first["benchmarks"].items()):
        entries = entries_of(results, name)
        part = BenchmarkPart(name, benchmark["description"], entries)
        part.alarms = _decontamination(entries, {"unknown"})
        part.notes = _decontamination(entries, {"checked", "held out"})
        part.remarks = list(_gains(name, results, differences))
        part.figures = [_group_figure(name, benchmark["grouping"], k, entries) for k in ks]
        part.figures += [_every_k_figure(name, entries)]
        part.figures += [*_month_figure(name, ks[0], entries), *_length_figure(name, entries)]
        part.tables = [*compared[place * len(ks) : (place + 1) * len(ks)], _outcomes(name, entries)]
        others = [grouping for grouping in groupings_of(entries, ks) if grouping != benchmark["grouping"]]
        if others:
            part.folds[f"By {' and '.join(others)}"] = grouping_tables(name, entries, ks, others)
        part.folds["pass@k for every k, and avg@n"] = [every_k_table(name, entries), runs_table(name, entries)]
        if any(entry["by_length"] for entry in entries.values()):
            part.folds["By length of the response"] = [length_table(name, entries)]
        if policies := policy_tables(name, entries, ks):
            part.tables.append(policies[0])
            if policies[1:]:
                part.folds["More pass@k under each verdict policy"] = policies[1:]
            part.policies, part.programs, part.programs_left_out = choose_programs(results, name)
        parts.append(part)
    return parts


def _decontamination(entries: Entries, statuses: set[str]) -> list[str]:
    """What is known of each model's training data, where that is one of `statuses`; models in one state together."""
    models: dict[tuple[str, str], list[str]] = {}
    for label, entry in entries.items():
        status = entry["decontamination"]
        if status["status"] in statuses:
            models.setdefault((status["status"], status["said"]), []).append(label)
    return [f"Decontamination {status} ({', '.join(labels)}): {text}." for (status, text), labels in models.items()]


def _gains(name: str, results: Mapping[str, ModelResult], differences: Differences) -> Iterator[str]:
    """In words: each stage's gain, and wherever pass@k with k above 1 falls."""
    settings = next(iter(results.values())).scores
    grouping = settings["benchmarks"][name]["grouping"]
    for (before, after), (pair, per_benchmark) in zip(pairwise(results.values()), differences.items(), strict=True):
        for k in settings["k"]:
            whole = per_benchmark[name][f"pass_at_{k}"]
            for group in (None, *groups_of(whole, grouping)):
                part = part_of(whole, grouping, group)
                change, ends = part["difference"], part["ci95"]
                if change is None or ends is None or (group is not None and (k == 1 or change >= 0)):
                    continue
                scores = [score_at(result.scores["benchmarks"][name], k) for result in (before, after)]
                old, new = (share(part_of(score, grouping, group)["mean"]) for score in scores)
                moved = f"{'falls' if change < 0 else 'rises'} from {old} to {new}" if change else f"stays at {new}"
                certainty = "includes 0" if ends[0] <= 0 <= ends[1] else "excludes 0"
                yield (
                    f"{pair}: pass@{k} on {name}, {group or 'all problems'}, {moved} (difference {100 * change:+.1f} "
                    f"points, 95 % interval {interval(part, signed=True)}, which {certainty})."
                )


def _group_figure(name: str, grouping: str, k: int, entries: Entries) -> Figure:
    scores = {label: score_at(entry, k) for label, entry in entries.items()}
    groups = list(groups_of(next(iter(scores.values())), grouping))
    points = {
        label: [_point(part_of(score, grouping, group)) for group in (None, *groups)] for label, score in scores.items()
    }
    means = "; ".join(f"{label} {share(score['mean'])}" for label, score in scores.items())
    return group_plot(
        ["all", *groups],
        points,
        f"pass@{k}, %",
        f"pass@{k} on {name}, all problems and by {grouping}, with 95 % intervals. Overall: {means}",
        f"pass@{k} on {name} with 95 % intervals.",
    )


def _every_k_figure(name: str, entries: Entries) -> Figure:
    curves = {
        label: [(part["k"], *point) for part in entry["pass_at_every_k"] if (point := _point(part)) is not None]
        for label, entry in entries.items()
    }
    ends = "; ".join(
        f"{label} from {points[0][1]:.1f} % at k = {points[0][0]} to {points[-1][1]:.1f} % at k = {points[-1][0]}"
        for label, points in curves.items()
        if points
    )
    return every_k_plot(
        curves,
        f"pass@k on {name} over k, with 95 % intervals: {ends}",
        f"pass@k on {name} for every k, with 95 % intervals.",
    )


def _month_figure(name: str, k: int, entries: Entries) -> list[Figure]:
    """pass@k over the months of the contests, where there are several: a fall shows what a model may have seen."""
    by_month = {label: groups_of(score_at(entry, k), "month") for label, entry in entries.items()}
    months = list(next(iter(by_month.values())))
    if len(months) < 2:
        return []
    points = {label: [_point(scores[month]) for month in months] for label, scores in by_month.items()}
    described = f"pass@{k} on {name} by month of the contest, {months[0]} to {months[-1]}, with 95 % intervals"
    names = [f"{MONTH_NAMES[int(month[5:]) - 1]} {month[2:4]}" for month in months]
    return [group_plot(names, points, f"pass@{k}, %", described)]


def _length_figure(name: str, entries: Entries) -> list[Figure]:
    """The share of right samples by length of the response, where responses differ in it."""
    bins = length_bins(entries)
    if len(bins) < 2:
        return []
    points = {
        label: [part and _percents(part["share"], part["ci95"]) for part in (parts[label] for parts in bins.values())]
        for label in entries
    }
    names = [_kilo(start, below) for start, below in bins]
    described = f"Right samples on {name} by tokens of the response, with 95 % intervals"
    return [group_plot(names, points, "right, %", described)]


def _outcomes(name: str, entries: Entries) -> Table:
    """What became of the samples of each model, in percent of all."""
    totals = {label: sum(entry["failures"].values()) for label, entry in entries.items()}
    rows = []
    for kind in next(iter(entries.values()))["failures"]:
        counts = {label: entry["failures"][kind] for label, entry in entries.items()}
        if any(counts.values()):
            rows.append([outcome_name(kind), *(share(count / totals[label]) for label, count in counts.items())])
    rows.append(["samples", *(f"{total:,}" for total in totals.values())])
    tokens = (entry["completion_tokens"] / totals[label] for label, entry in entries.items())
    rows.append(["tokens per sample", *(f"{mean:,.0f}" for mean in tokens)])
    return Table(f"{name}: what became of the samples", ["outcome", *entries], rows)


def _point(part: Score | CurvePoint) -> tuple[float, float, float] | None:
    return None if part["mean"] is None or part["ci95"] is None else _percents(part["mean"], part["ci95"])


def _percents(value: float, interval: Sequence[float]) -> tuple[float, float, float]:
    return 100 * value, 100 * interval[0], 100 * interval[1]


def _kilo(start: int, below: int | None) -> str:
    """A bin of tokens in units of 1024."""
    if below is None:
        return f"≥ {start // 1024}k"
    return f"< {below // 1024}k" if start == 0 else f"{start // 1024}–{below // 1024}k"


def interval(part: Score | Difference, signed: bool = False) -> str:
    """The 95 % interval in percent."""
    if part["ci95"] is None:
        return "no interval"
    low, high = (f"{100 * end:{'+' if signed else ''}.1f}" for end in part["ci95"])
    return f"[{low}, {high}]"
