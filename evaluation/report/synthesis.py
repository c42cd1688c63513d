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

TOP_FEATURES = 4
BINS = 10


def funnel_tables(folder: Path) -> list[Table]:
    """From tasks made to tasks kept, per split, and the quality of the labels where the truth is known."""
    path = SynthLayout(folder).funnel
    if not path.exists():
        return []
    splits: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    reasons = dict.fromkeys(reason for split in splits.values() for reason in split["dropped"])
    counted = [
        ("tasks made", [split["made"] for split in splits.values()]),
        *((f"dropped: {reason}", [split["dropped"].get(reason, 0) for split in splits.values()]) for reason in reasons),
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
            ("labels that are right", "labels_right"),
            ("golden solutions that are right", "golden_right"),
            ("mean agreement on a label", "mean_agreement"),
        )
    ]
    quality = [
        [title, *map(_share, values)] for title, values in measured if any(value is not None for value in values)
    ]
    if quality:
        tables.append(Table("Quality of labels, against the known truth", ["measure", *splits], quality))
    return tables


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
