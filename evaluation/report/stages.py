"""The report's part on what scores rest on: curves of SFT and GRPO; synthesis, its labels, its styles and features."""

import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet

from evaluation.report.plots import PART_COLOURS, Figure, bar_plot, curve_plot, histogram, share_plot
from evaluation.tables import Table, share
from xcoder_core.files import read_object
from xcoder_core.problem import Problem, Solution, TestCase
from xcoder_core.records import read_records, read_table
from xcoder_core.rows import sound_rows
from xcoder_core.stage import RESULT_FILE, SynthLayout

METRICS_FILE = "metrics.jsonl"
VERDICT = "verdicts/"
Metrics = list[dict[str, Any]]


def sft_figures(folder: Path) -> list[Figure]:
    """The loss over steps; nothing where none was logged."""
    return _with_held_out(read_metrics(folder), "loss", "loss", "SFT loss")


def grpo_figures(folder: Path) -> list[Figure]:
    """Mean reward, shares of verdicts, and the share of groups that teach nothing, each where it was logged."""
    metrics = read_metrics(folder)
    figures = _with_held_out(metrics, "reward", "mean reward", "GRPO mean reward")
    names = dict.fromkeys(name for row in metrics for name in row if name.startswith(VERDICT))
    rows = [row for row in metrics if all(isinstance(row.get(name), int | float) for name in names)]
    if names and rows:
        shares = {name.removeprefix(VERDICT): [row[name] for row in rows] for name in names}
        shares = {name: values for name, values in shares.items() if any(values)}
        accepted = shares.get("AC", [0.0] * len(rows))
        order = sorted(shares, key=lambda name: (name != "AC", -sum(shares[name])))
        description = (
            f"Verdicts on GRPO rollouts over {rows[-1]['step']:.0f} steps; "
            f"accepted: {100 * accepted[0]:.0f} % at first, {100 * accepted[-1]:.0f} % at last"
        )
        steps = [row["step"] for row in rows]
        figures.append(share_plot(steps, {name: shares[name] for name in order}, description, "rollouts"))
    steps, flat = column(metrics, "frac_reward_zero_std")
    if steps:
        description = "Share of GRPO groups whose rollouts all got the same reward and so teach nothing"
        percents = [100 * share for share in flat]
        figures.append(curve_plot({"groups": (steps, percents)}, "groups, %", description))
    return figures + _step_times(metrics)


def _step_times(metrics: Metrics) -> list[Figure]:
    """The parts of a step's time, the largest first; nothing where none were logged."""
    seconds = {part: column(metrics, f"timing/{part}_runtime") for part in PART_COLOURS}
    totals = {part: sum(values) for part, (_, values) in seconds.items() if any(values)}
    steps, whole = column(metrics, "timing/step_runtime")
    if not totals or not all(whole):
        return []
    order = sorted(totals, key=lambda part: -totals[part])
    shares = {part: [one / step for one, step in zip(seconds[part][1], whole, strict=True)] for part in order}
    listed = ", ".join(f"{part} {totals[part] / sum(whole):.0%}" for part in order)
    description = f"Time of a GRPO step, {sum(whole) / len(whole):,.1f} seconds on average: {listed}"
    return [share_plot(steps, shares, description, "time")]


def _with_held_out(metrics: Metrics, name: str, label: str, title: str) -> list[Figure]:
    """A metric over steps, beside it that on held-out tasks."""
    steps, values = column(metrics, name)
    if not steps:
        return []
    curves = {"training": (steps, values), "held-out": column(metrics, f"eval_{name}")}
    description = f"{title} over {steps[-1]:.0f} steps, from {values[0]:.3g} to {values[-1]:.3g}"
    return [curve_plot({name: curve for name, curve in curves.items() if curve[0]}, label, description)]


def read_metrics(folder: Path) -> Metrics:
    """The logged steps of a stage, in order; none where it logged nothing."""
    path = folder / METRICS_FILE
    return [row for _, row in sound_rows(path, strict=False)] if path.exists() else []


def column(metrics: Metrics, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one metric, where it was logged as a number."""
    rows = [row for row in metrics if isinstance(row.get(name), int | float)]
    return [row["step"] for row in rows], [row[name] for row in rows]


TOP_FEATURES = 4
BINS = 10
TOKEN_BINS = 20
CATEGORIES = 12
USES = {"sft": "SFT", "rl": "RL"}


def funnel_tables(folder: Path) -> list[Table]:
    """From tasks made to tasks kept, per split, the quality of the labels, and what a language model took."""
    splits = read_object(SynthLayout(folder).funnel)
    if not splits:
        return []

    def counted(title: str, key: str) -> list[list[str]]:
        values = [split.get(key) for split in splits.values()]
        return [[title, *map(_count, values)]] if any(value is not None for value in values) else []

    def by_reason(title: str, key: str) -> list[list[str]]:
        reasons = dict.fromkeys(reason for split in splits.values() for reason in split.get(key, {}))
        return [
            [f"{title}: {reason}", *(_count(split.get(key, {}).get(reason, 0)) for split in splits.values())]
            for reason in reasons
        ]

    rows = [
        *by_reason("set aside", "set_aside"),
        *counted("tasks made", "made"),
        *by_reason("inputs refused", "refused_inputs"),
        *by_reason("dropped", "dropped"),
        *counted("tasks kept", "kept"),
        *counted("candidates asked", "candidates"),
        *counted("solutions accepted", "accepted_solutions"),
        *counted("tests labelled", "tests"),
    ]
    tables = [Table("Tasks, from made to kept", ["step", *splits], rows)]
    measures = {
        "labels_right": "labels that are right, against the known truth",
        "golden_right": "golden solutions that are right, against the known truth",
        "mean_agreement": "mean agreement on a label",
    }
    shares = {title: [split.get(key) for split in splits.values()] for key, title in measures.items()}
    quality = [[title, *map(share, values)] for title, values in shares.items() if set(values) != {None}]
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
    path = SynthLayout(folder).problems
    styles: Counter[str] = Counter()
    features: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for problem in read_records(path, Problem) if path.exists() else ():
        styles[problem.style] += 1
        for feature in problem.features:
            category, _, rest = feature.partition("/")
            features[category][rest or category] += 1
    rows = [[style, _count(count), share(count / styles.total())] for style, count in styles.most_common()]
    tables = [Table("Styles", ["style", "problems", "share"], rows)] if rows else []
    rows = []
    for category, counts in sorted(features.items()):
        most_used = ", ".join(f"{name} ({count})" for name, count in counts.most_common(TOP_FEATURES))
        rows.append([category, _count(len(counts)), _count(counts.total()), most_used])
    if rows:
        header = ["category", "distinct", "uses", "most used"]
        tables.append(Table("Features of kept problems", header, rows, ends_in_prose=True))
    return tables


def synthesis_figures(folder: Path) -> list[Figure]:
    """Agreement on labels, pass rates, length of solutions, and features, each where it is known."""
    agreement, length, coverage = agreement_figure(folder), length_figure(folder), coverage_figure(folder)
    return [figure for figure in (agreement, *difficulty_figures(folder), length, coverage) if figure is not None]


def coverage_figure(folder: Path) -> Figure | None:
    """How many different features the kept problems use, by category of the tree; by branch where it has only one."""
    path = SynthLayout(folder).problems
    problems = read_records(path, Problem) if path.exists() else ()
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
            cells = [_count(len(rates)), share(len(rates) / total), share(mean), share(solved / len(rates))]
            rows.append([f"{name}, {difficulty}", *cells])
    header = ["dataset and difficulty", "problems", "share", "mean pass rate", "solvable"]
    return [Table("Difficulty, by the candidates' pass rate", header, rows)] if rows else []


def difficulty_figures(folder: Path) -> list[Figure]:
    """The pass rates of each dataset's problems."""
    figures = []
    for use, name in USES.items():
        rates = numpy.array([100 * rate for bin_rates in _problems_of(folder, use).values() for rate in bin_rates])
        if rates.size:
            description = (
                f"Pass rates of the {len(rates):,} problems of the {name} dataset: mean {rates.mean():.0f} %, "
                f"{100 * sum(rates == 100) / len(rates):.0f} % solved by every candidate"
            )
            labels = "candidates that pass every test, %", "problems"
            figures.append(histogram(rates, BINS, (0, 100), labels, description))
    return figures


def _problems_of(folder: Path, use: str) -> dict[str, list[float]]:
    """The pass rates of a dataset's problems, by bin, easiest bin first; empty where there is none, or an older one."""
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
    description = (
        f"Length of {lengths.size:,} answers with candidate solutions, in {unit}: median {numpy.median(lengths):,.0f}, "
        f"mean {lengths.mean():,.0f}, longest {lengths.max():,}"
    )
    return histogram(lengths, TOKEN_BINS, (0, max(1, math.ceil(lengths.max()))), (unit, "answers"), description)


def agreement_figure(folder: Path) -> Figure | None:
    """How many tests got their label by which share of the vote."""
    path = SynthLayout(folder).tests
    tests = read_records(path, TestCase) if path.exists() else ()
    agreements = numpy.array([test.agreement for test in tests if test.agreement is not None])
    if not agreements.size:
        return None
    unanimous = int((agreements > 1 - 1e-9).sum())
    description = (
        f"Agreement of the candidates on {agreements.size:,} labels: {100 * unanimous / agreements.size:.0f} % "
        f"unanimous, lowest {100 * agreements.min():.0f} %"
    )
    labels = "share of the vote for the label, %", "tests"
    return histogram(100 * agreements, BINS, (min(50, 100 * agreements.min()), 100), labels, description)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
