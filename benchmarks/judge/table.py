"""The figures as JSON, on the terminal, and in the guide, whose tables are made from the JSON by a command."""

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.judge.process import Measurement
from benchmarks.judge.rows import PRINTING, Costs, Results, best_cpu, best_wall
from xcoder_core.errors import InputError
from xcoder_core.files import fingerprint

BEGIN = "<!-- python -m benchmarks.judge --markdown: begin -->"
END = "<!-- python -m benchmarks.judge --markdown: end -->"


def machine(tier: str, checkout: Path | None) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "tier": tier,
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "livecodebench": None if checkout is None else fingerprint(*checkout.glob("lcb_runner/evaluation/*.py")),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def to_json(results: Results, described: dict[str, Any], seconds: float) -> dict[str, Any]:
    """All of it: the machine, every row, and what each harness cost per program."""
    return {
        "machine": described,
        "seconds": round(seconds),
        "rows": [asdict(row) | {"met": row.met} for row in results.rows],
        "costs": {
            workload: {name: cost_json(costs, name) for name in costs} for workload, costs in results.costs.items()
        },
    }


def cost_json(costs: Costs, name: str) -> dict[str, Any]:
    """Milliseconds per program in the best round, of what they are made, and the rounds that they come from."""
    best = min(costs[name], key=lambda cost: cost.cpu)
    cpu, wall = best_cpu(costs, name) or 0.0, best_wall(costs, name) or 0.0
    return {
        "cpu_ms": milliseconds(cpu),
        "wall_ms": milliseconds(wall),
        "first_process_cpu_ms": milliseconds(best.own_cpu / best.programs),
        "tests_cpu_ms": None if best.tests_cpu is None else milliseconds(best.tests_cpu / best.programs),
        "page_faults": round(best.page_faults / best.programs),
        "growth_mib": round(max(cost.growth_mib for cost in costs[name]), 1),
        "rounds": [round_json(cost) for cost in costs[name]],
    }


def round_json(cost: Measurement) -> dict[str, float]:
    return {
        "programs": cost.programs,
        "cpu_ms": milliseconds(cost.cpu / cost.programs),
        "wall_ms": milliseconds(cost.wall / cost.programs),
    }


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


def show(written: dict[str, Any]) -> None:
    """All of it in 80 columns."""
    console = Console(width=80)
    console.print(described(written))
    for headings, rows in tables(written):
        shown = Table(box=None, pad_edge=False, padding=(0, 1))
        for heading in headings:
            shown.add_column(heading, justify="left" if heading in TEXTS else "right")
        for cells in rows:
            shown.add_row(*cells)
        console.print(shown)
    console.print(made_of(written))
    console.print(growth(written))


def to_markdown(written: dict[str, Any]) -> str:
    """What stands between the markers."""
    shown = []
    for headings, rows in tables(written):
        marks = ["---" if heading in TEXTS else "---:" for heading in headings]
        shown.append("\n".join(f"| {' | '.join(cells)} |" for cells in (headings, marks, *rows)))
    return "\n\n".join([described(written), *shown, made_of(written), growth(written)])


def tables(written: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Headings and rows of the demands and of the costs per program."""
    return [(DEMAND_HEADINGS, demand_cells(written)), (COST_HEADINGS, cost_cells(written))]


DEMAND_HEADINGS = ("demand", "wanted", "measured", "in its runner", "met")
TEXTS = {"demand", "met", "workload", "harness"}
COST_HEADINGS = ("workload", "harness", "CPU ms", "wall ms", "page faults")


def demand_cells(written: dict[str, Any]) -> list[list[str]]:
    """A line per row. The fourth cell is the figure against LiveCodeBench in a process like its own programs'."""
    lines = []
    for row in written["rows"]:
        sign, unit = "≥" if row["at_least"] else "≤", row["unit"]
        wanted = f"{sign} {number(row['target'])} {unit}"
        if row["least"] != row["target"]:
            wanted += f" ({number(row['least'])})"
        shown = ["" if row[name] is None else f"{row[name]:.1f} {unit}" for name in ("figure", "in_runner")]
        lines.append([row["name"], wanted, *shown, row["met"]])
    return lines


def cost_cells(written: dict[str, Any]) -> list[list[str]]:
    """A line per workload and harness, per program. Printing to the cap is about memory only."""
    return [
        [workload, name, f"{cost['cpu_ms']:.1f}", f"{cost['wall_ms']:.1f}", str(cost["page_faults"])]
        for workload, costs in written["costs"].items()
        if workload != PRINTING
        for name, cost in costs.items()
    ]


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def described(written: dict[str, Any]) -> str:
    """The machine in a sentence."""
    on = written["machine"]
    return (
        f"Measured on {on['date']}: {on['processor']}, {on['cores']} cores, Linux {on['kernel']}, Python "
        f"{on['python']}, tier {on['tier']}, load average {on['load_average_at_start']} at the start, "
        f"{written['seconds']} seconds in all."
    )


def made_of(written: dict[str, Any]) -> str:
    """What the cost of a tiny program and of a function consists of."""
    sentences = []
    for workload, what in (("tiny", "a tiny program with ten tests"), ("functions", "a function with ten tests")):
        cost = written["costs"][workload]["judge"]
        supervisor, children = cost["first_process_cpu_ms"], cost["tests_cpu_ms"]
        rest = cost["cpu_ms"] - supervisor - (children if workload == "tiny" else 0)
        parts = f"supervisor {supervisor:.1f}, zygote and template {rest:.1f}, the tests' processes {children:.1f}"
        if workload == "functions":
            parts = f"supervisor {supervisor:.1f}, zygote, template and the one process {rest:.1f}"
        sentences.append(f"{what} costs {cost['cpu_ms']:.1f} ms and {cost['page_faults']} page faults ({parts} ms)")
    return f"In CPU time {'; '.join(sentences)}."


def growth(written: dict[str, Any]) -> str:
    """How far the supervisor grew while programs printed."""
    parts = [f"{name}: {cost['growth_mib']:.0f} MiB" for name, cost in written["costs"][PRINTING].items()]
    return f"While programs printed to the cap, the supervisor's resident size rose by ({'; '.join(parts)})."


def put_into(guide: str, markdown: str) -> str:
    """`guide` with `markdown` between the markers. Raises `InputError` where it lacks them."""
    head, begin, rest = guide.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the guide lacks the markers {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{markdown}\n\n{END}{tail}"
