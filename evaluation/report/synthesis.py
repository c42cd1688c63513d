"""The report's part on synthesis: the funnel, what was measured of the labels, styles and features."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy

from evaluation.report.plots import Figure, histogram
from evaluation.tables import Table
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.problem import Problem, TestCase
from xcoder_train.core.records import read_records
from xcoder_train.core.stage import RESULT_FILE

TOP_FEATURES = 4
BINS = 10


def funnel_tables(folder: Path) -> list[Table]:
    """From tasks made to tasks kept, per split, the quality of the labels, and what a language model took."""
    path = SynthLayout(folder).funnel
    if not path.exists():
        return []
    splits: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))

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
    result = folder / RESULT_FILE
    usage = json.loads(result.read_text(encoding="utf-8")).get("usage", {}) if result.exists() else {}
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
