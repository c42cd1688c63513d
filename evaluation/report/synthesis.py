"""The report's part on synthesis: the funnel, what was measured of the labels, styles and features."""

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy

from evaluation.report.plots import Figure, bar_plot, histogram
from evaluation.tables import Table
from xcoder_core.files import read_object
from xcoder_core.layout import SynthLayout
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_records, read_table
from xcoder_core.stage import RESULT_FILE

TOP_FEATURES = 4
BINS = 10
TOKEN_BINS = 20
CATEGORIES = 12
USES = {"sft": "SFT", "rl": "RL"}


def funnel_tables(folder: Path) -> list[Table]:
    """From tasks made to tasks kept, per split, the quality of the labels, and what a language model took."""
    splits: dict[str, dict[str, Any]] = read_object(SynthLayout(folder).funnel)
    if not splits:
        return []

    def by_reason(name: str, key: str) -> list[tuple[str, list[int | None]]]:
        reasons = dict.fromkeys(reason for split in splits.values() for reason in split.get(key, {}))
        return [
            (f"{name}: {reason}", [split.get(key, {}).get(reason, 0) for split in splits.values()])
            for reason in reasons
        ]

    counted = [
        *by_reason("set aside", "set_aside"),
        ("tasks made", [split["made"] for split in splits.values()]),
        *by_reason("inputs refused", "refused_inputs"),
        *by_reason("dropped", "dropped"),
        ("tasks kept", [split["kept"] for split in splits.values()]),
        ("candidates asked", [split.get("candidates") for split in splits.values()]),
        ("solutions accepted", [split.get("accepted_solutions") for split in splits.values()]),
        ("tests labelled", [split.get("tests") for split in splits.values()]),
    ]
    rows = [[name, *map(_count, values)] for name, values in counted if any(value is not None for value in values)]
    tables = [Table("Tasks, from made to kept", ["step", *splits], rows)]
    measured = [
        (title, [split.get(key) for split in splits.values()])
        for title, key in (
            ("labels that are right, against the known truth", "labels_right"),
            ("golden solutions that are right, against the known truth", "golden_right"),
            ("mean agreement on a label", "mean_agreement"),
        )
    ]
    quality = [
        [title, *map(_share, values)] for title, values in measured if any(value is not None for value in values)
    ]
    if quality:
        tables.append(Table("Quality of labels", ["measure", *splits], quality))
    return tables + _usage_tables(folder)


def _usage_tables(folder: Path) -> list[Table]:
    usage = read_object(folder / RESULT_FILE).get("usage", {})
    if not usage:
        return []
    counts = ("requests", "prompt_tokens", "completion_tokens")
    rows = [[stage, *(_count(used[key]) for key in counts), f"{used['cost']:,.2f}"] for stage, used in usage.items()]
    return [Table("What the teacher took", ["stage", "answers", "prompt tokens", "completion tokens", "cost"], rows)]


def coverage_tables(folder: Path) -> list[Table]:
    """Statement styles, and how far the kept problems cover the feature tree."""
    styles: Counter[str] = Counter()
    features: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for problem in read_records(SynthLayout(folder).problems, Problem):
        styles[problem.style] += 1
        for feature in problem.features:
            category, _, rest = feature.partition("/")
            features[category][rest or category] += 1
    total = styles.total()
    tables = [
        Table(
            "Styles",
            ["style", "problems", "share"],
            [[style, _count(count), _share(count / total)] for style, count in styles.most_common()],
        )
    ]
    rows = [
        [
            category,
            _count(len(counts)),
            _count(counts.total()),
            ", ".join(f"{name} ({count})" for name, count in counts.most_common(TOP_FEATURES)),
        ]
        for category, counts in sorted(features.items())
    ]
    if rows:
        tables.append(
            Table("Features of kept problems", ["category", "distinct", "uses", "most used"], rows, ends_in_prose=True)
        )
    return tables


def coverage_figure(folder: Path) -> Figure | None:
    """How many different features the kept problems use, by category of the tree; by branch where it has only one."""
    problems = read_records(SynthLayout(folder).problems, Problem)
    used = {tuple(feature.split("/")) for problem in problems for feature in problem.features}
    if not used:
        return None
    level = 1 if len({path[0] for path in used}) > 1 else 2
    features = Counter("/".join(path[:level]) for path in used)
    largest = sorted(features, key=lambda name: (-features[name], name))[:CATEGORIES]
    counts = {name: features[name] for name in largest}
    left_out = len(features) - len(counts)
    description = f"Different features of kept problems by category, {len(used):,} in all"
    caption = description + (f"; {left_out} smaller categories are not shown." if left_out else ".")
    return bar_plot(counts, "different features", description, caption)


def difficulty_tables(folder: Path) -> list[Table]:
    """Problems of each dataset by bin of difficulty, and how many of them some candidate solves."""
    rows = []
    for use, name in USES.items():
        problems = _problems_of(folder, use)
        for difficulty, rates in problems.items():
            total = sum(map(len, problems.values()))
            solved = sum(rate > 0 for rate in rates)
            mean = sum(rates) / len(rates)
            cells = [_count(len(rates)), _share(len(rates) / total), _share(mean), _share(solved / len(rates))]
            rows.append([f"{name}, {difficulty}", *cells])
    header = ["dataset and difficulty", "problems", "share", "mean pass rate", "solvable"]
    return [Table("Difficulty, by the candidates' pass rate", header, rows)] if rows else []


def difficulty_figures(folder: Path) -> list[Figure]:
    """The pass rates of each dataset's problems."""
    figures = []
    for use, name in USES.items():
        rates = [100 * rate for bin_rates in _problems_of(folder, use).values() for rate in bin_rates]
        if rates:
            counts, edges = numpy.histogram(rates, bins=BINS, range=(0, 100))
            description = (
                f"Pass rates of the {len(rates):,} problems of the {name} dataset: mean {numpy.mean(rates):.0f} %, "
                f"{100 * sum(rate == 100 for rate in rates) / len(rates):.0f} % solved by every candidate"
            )
            label = "candidates that pass every test, %"
            drawn = histogram(counts.tolist(), edges.tolist(), label, description, description + ".", "problems")
            figures.append(drawn)
    return figures


def _problems_of(folder: Path, use: str) -> dict[str, list[float]]:
    """The pass rates of a dataset's problems, by bin, easiest bin first; empty where there is none, or an older one."""
    import pyarrow.parquet

    path = SynthLayout(folder).dataset(use) / "train.parquet"
    if not path.exists():
        return {}
    columns = ["problem_id", "difficulty", "pass_rate"]
    if not set(columns) <= set(pyarrow.parquet.read_schema(path).names):
        return {}
    rows = read_table(path, columns).to_pylist()
    problems = {row["problem_id"]: row for row in rows if row["pass_rate"] is not None}  # an import has none
    bins: defaultdict[str, list[float]] = defaultdict(list)
    for row in sorted(problems.values(), key=lambda row: -row["pass_rate"]):
        bins[row["difficulty"]].append(row["pass_rate"])
    return dict(bins)


def length_figure(folder: Path) -> Figure | None:
    """How long solutions are with their reasoning: in tokens where a model counted them, else in characters."""
    layout = SynthLayout(folder)
    if layout.solution_answers.exists():
        unit = "tokens"
        lengths = read_table(layout.solution_answers, ["completion_tokens"])["completion_tokens"].to_numpy()
    elif layout.solutions.exists():
        unit = "characters"
        lengths = numpy.array([len(solution.response) for solution in read_records(layout.solutions, Solution)])
    else:
        return None
    if not lengths.size:
        return None
    counts, edges = numpy.histogram(lengths, bins=TOKEN_BINS, range=(0, max(1, math.ceil(lengths.max()))))
    description = (
        f"Length of {lengths.size:,} answers with candidate solutions, in {unit}: median {numpy.median(lengths):,.0f}, "
        f"mean {lengths.mean():,.0f}, longest {lengths.max():,}"
    )
    return histogram(counts.tolist(), edges.tolist(), unit, description, description + ".", "answers")


def agreement_figure(folder: Path) -> Figure | None:
    """How many tests got their label by which share of the vote."""
    agreements = numpy.array(
        [test.agreement for test in read_records(SynthLayout(folder).tests, TestCase) if test.agreement is not None]
    )
    if not agreements.size:
        return None
    counts, edges = numpy.histogram(100 * agreements, bins=BINS, range=(min(50, 100 * agreements.min()), 100))
    whole = int((agreements > 1 - 1e-9).sum())
    description = (
        f"Agreement of the candidates on {agreements.size:,} labels: {100 * whole / agreements.size:.0f} % unanimous, "
        f"lowest {100 * agreements.min():.0f} %"
    )
    return histogram(
        counts.tolist(), edges.tolist(), "share of the vote for the label, %", description, description + "."
    )


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
