"""The plot of `benchmarks/verification.py`: golden full-pass rate against yield, and how the error model moves it."""

from pathlib import Path
from typing import Any


def plot(found: dict[str, Any], file: Path) -> None:
    """Write the figure as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
    lines = {
        "majority||8": ("majority, bar on agreement", "tab:blue", "-"),
        "EM||8": ("EM, bar on agreement", "tab:orange", "--"),
        "EM by its posterior||8": ("EM, bar on its own posterior", "tab:red", ":"),
        "majority|both|8": ("majority, validator and brute force", "tab:green", "-"),
        "majority||16": ("majority, 16 candidates", "tab:blue", "-."),
    }
    for key, (label, colour, style) in lines.items():
        _line(left, found["frontiers"][key], label, colour, style)
    for row in found["table"]:
        if row["way"].endswith("(paper)") and row["aid"] == "":
            point = (100 * row["yield"]["value"], 100 * row["golden_full_pass"]["value"])
            left.plot(
                *point, "k*", markersize=10, label="the paper's way, 4 / 8 / 16" if row["candidates"] == 4 else None
            )
    left.set_title("Best fit, 8 candidates unless said otherwise")

    shades = pyplot.get_cmap("viridis")
    misread = sorted({row["misread"] for row in found["sensitivity"]})
    for place, share in enumerate(misread):
        colour = shades(0.85 * place / max(len(misread) - 1, 1))
        alike = [row for row in found["sensitivity"] if row["misread"] == share]
        for number, row in enumerate(alike):
            label = f"{share:.0%} of tasks misread" if number == 0 else None
            _line(right, row["majority|"]["frontier"], label, colour, "-")
    right.set_title("Majority, 8 candidates, under every fit")
    for axes in (left, right):
        axes.set_xlabel("yield (% of all tasks)")
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=79.5)
    left.legend(fontsize=8, loc="upper left")
    right.legend(fontsize=8, loc="lower left")
    left.set_ylabel("golden solutions that are right (%)")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)
    pyplot.close(figure)


def _line(axes: Any, points: list[tuple[float, float]], label: str | None, colour: Any, style: str) -> None:
    axes.plot([100 * x for x, _ in points], [100 * y for _, y in points], style, color=colour, label=label)
