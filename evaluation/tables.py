"""Tables of pass@k with intervals and paired differences, for the console and for Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluation.results import ModelResult
from evaluation.score_file import Differences, part_of, score_at
from xcoder_core.terminal import cell, table_console

_WIDTH = 80


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
        grouping = benchmark["grouping"]
        for k in first["k"]:
            rows = []
            for group in (None, *benchmark["groups"]):
                figures = [result.scores["benchmarks"][name] for result in results.values()]
                scores = [part_of(score_at(each, k), grouping, group) for each in figures]
                gains = [part_of(each[name][f"pass_at_{k}"], grouping, group) for each in differences.values()]
                rows.append(
                    [
                        group or "all",
                        str(scores[0]["problems"]),
                        *(percent(score["mean"], score["ci95"]) for score in scores),
                        *(percent(gain["difference"], gain["ci95"], signed=True) for gain in gains),
                    ]
                )
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
        said: dict[tuple[str, bool], list[str]] = {}
        for label, result in results.items():
            for remark in remarks(result, name):
                said.setdefault(remark, []).append(label)
        for (line, is_loud), labels in said.items():
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
    """The columns in as many groups as `_WIDTH` asks for; the first two columns stand before each group."""

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
    said = []
    if average["mean"] is not None:
        spread = "one run" if average["std"] is None else f"± {100 * average['std']:.1f} (standard deviation over runs)"
        said.append((f"avg@{average['n']} {100 * average['mean']:.1f} % {spread}", False))
    said.append((f"policy {result.scores['policy']}, extraction {result.scores['extraction']}", False))
    differences = result.scores.get("policy_differences")
    if differences is not None:
        counted = ", ".join(f"{verdicts}: {n}" for verdicts, n in differences["verdicts"].items()) or "none"
        count = f"{differences['programs']} programs ({differences['samples']} samples)"
        said.append((f"the policies differ on {count} of all benchmarks; {counted}", False))
    is_unknown = status["status"] == "unknown"
    heading = "DECONTAMINATION UNKNOWN" if is_unknown else "decontamination"
    return [*said, (f"{heading}: {status['said']}", is_unknown)]


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
