"""What the runs of an ablation left, gathered into one file, and the tables and plots that follow from that file.

`results.json` alone is enough to write every table and plot again: the runs themselves may be gone by then.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.results import load_results
from evaluation.scores import Estimate, ProblemCounts, estimate_pass_at_k
from evaluation.seeds import estimate_difference_over_seeds, estimate_over_seeds
from evaluation.tables import Table, percent, to_markdown
from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_json, write_text
from xcoder_train.core.seeds import derive_seed
from xcoder_train.recipe import Recipe, load_recipe
from xcoder_train.results import evaluation_targets, is_whole, read_result, stage_folder

if TYPE_CHECKING:
    from xcoder_train.ablation import Ablation, Arm

RESULTS_FILE = "results.json"
Counts = dict[str, ProblemCounts]


def write_results(ablation: "Ablation") -> dict[str, Any]:
    """Gather what the finished runs left into results.json, and write tables and plots beside it.

    Where no run stands for these settings, results that are stored already stay, with an InputError.
    """
    found, stored = gather(ablation), ablation.folder / RESULTS_FILE
    if found["window"] is None and stored.exists() and read_results(stored)["window"] is not None:
        raise InputError(
            f"no run in {ablation.folder} stands for these settings, and {stored} holds results of others, which stay. "
            f"Their tables: xcoder ablate {stored} --tables"
        )
    write_json(stored, found)
    write_tables(found, ablation.folder)
    return found


def gather(ablation: "Ablation") -> dict[str, Any]:
    """What results.json holds: per arm every seed's score, the mean over seeds, the difference from the first arm."""
    settings, metric = ablation.settings, ablation.settings.metric
    runs: dict[Arm, dict[int, dict[str, Any]]] = {}
    counts: dict[Arm, dict[int, Counts]] = {}
    scores: dict[str, Any] = {}
    for arm in ablation.arms:
        runs[arm], counts[arm] = {}, {}
        for seed in settings.seeds:
            recipe = _finished(ablation, arm, seed)
            if recipe is None:
                continue
            result = load_results(stage_folder(recipe, "evaluation"))[metric.model]
            if metric.benchmark not in result.scores["benchmarks"]:
                known = ", ".join(result.scores["benchmarks"])
                raise InputError(f"ablation.metric.benchmark is {metric.benchmark!r}; the runs measured {known}")
            scores = result.scores
            counts[arm][seed] = {c.problem_id: c for c in result.counts if c.benchmark == metric.benchmark}
            runs[arm][seed] = {"seed": seed, "key": _key(recipe, metric.model), **_training(recipe)}
    resamples = scores.get("bootstrap", 0)
    arms = [
        _described(arm, runs[arm], counts[arm], counts[ablation.arms[0]], metric.k, resamples) for arm in ablation.arms
    ]
    return {
        "name": ablation.recipe.name,
        "question": settings.question,
        "axes": {axis: list(labels) for axis, labels in settings.axes.items()},
        "equal": settings.equal,
        "pool": _pool(ablation),
        "metric": metric.model_dump(mode="json"),
        "window": scores["benchmarks"][metric.benchmark]["description"] if scores else None,
        "samples_per_problem": scores.get("samples_per_problem"),
        "sampling": scores.get("sampling"),
        "seeds": list(settings.seeds),
        "paper": None if settings.paper is None else settings.paper.model_dump(mode="json"),
        "arms": arms,
        "missing": [
            f"{arm.name}-seed{seed}" for arm in ablation.arms for seed in settings.seeds if seed not in runs[arm]
        ],
    }


def read_results(path: Path) -> dict[str, Any]:
    """A stored results.json."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        found["arms"], found["axes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as the results of an ablation: {error}") from error
    return found


def write_tables(found: Mapping[str, Any], folder: Path) -> None:
    """table.md, table.csv, table.tex, plot.png and plot.svg of stored results; nothing else is read."""
    from xcoder_train.ablation_plot import plot

    write_text(folder / "table.md", to_markdown_page(found))
    write_text(folder / "table.csv", to_csv(found))
    write_text(folder / "table.tex", to_latex(found))
    plot(found, folder / "plot.png")
    plot(found, folder / "plot.svg")


def to_markdown_page(found: Mapping[str, Any]) -> str:
    """The question, the table, and what has to be known to read it."""
    return f"{found['question']}\n\n{to_markdown(make_table(found))}\n{caption(found)}\n"


def make_table(found: Mapping[str, Any]) -> Table:
    """One row for each arm."""
    paper = {} if found["paper"] is None else found["paper"]["percent"]
    score = f"pass@{found['metric']['k']}"
    header = [*found["axes"], f"{score}, %", "each seed", "to the first arm", "examples", "epochs", "steps", "tokens"]
    rows = []
    for arm in found["arms"]:
        first = arm["runs"][0] if arm["runs"] else {}
        rows.append(
            [
                *arm["labels"],
                percent(arm["mean"], arm["ci95"]) if arm["runs"] else "not run yet",
                ", ".join(f"{100 * run['mean']:.1f}" for run in arm["runs"]) or "–",
                _difference(arm["difference"]),
                _number(first.get("examples"), ","),
                _number(first.get("epochs"), ".1f"),
                _number(first.get("steps"), ","),
                _number(first.get("trained_tokens"), ","),
                *([f"{paper[arm['name']]:.1f}" if arm["name"] in paper else "–"] if paper else []),
            ]
        )
    return Table(found["question"], [*header, *(["paper, %"] if paper else [])], rows)


def caption(found: Mapping[str, Any]) -> str:
    """What is held equal, where the numbers were measured, what the intervals cover, and the paper's own window."""
    metric, sampling = found["metric"], found["sampling"]
    parts = [f"Held equal: {found['equal']}. Pool of every arm: {found['pool']}."]
    if found["window"] is None:
        parts.append("Not run yet.")
    else:
        parts.append(
            f"Our window: {found['window']}, {found['samples_per_problem']} samples each at temperature "
            f"{sampling['temperature']:g}, of the model after {metric['model'].upper()}. "
            "Brackets are 95 % intervals with problems and seeds resampled together; differences are paired."
        )
    if found["paper"] is not None:
        parts.append(f"Paper: {found['paper']['source']}; its window: {found['paper']['window']}.")
    if found["missing"] and found["window"] is not None:
        parts.append(f"Not run yet: {', '.join(found['missing'])}.")
    return " ".join(parts)


def to_csv(found: Mapping[str, Any]) -> str:
    """One line for each run (with its seed) and one for each arm (`seed` is `all`); shares, not percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = ["examples", "epochs", "steps", "trained_tokens"]
    ours = ["seed", "metric", "mean", "low", "high", "difference", "difference_low", "difference_high"]
    writer.writerow([*found["axes"], *ours, *figures, "held_equal", "window", "paper_percent", "paper_window"])
    paper = found["paper"] or {"percent": {}, "window": None}
    for arm in found["arms"]:
        told = paper["percent"].get(arm["name"])
        last = [found["equal"], found["window"], told, None if told is None else paper["window"]]
        metric = f"pass@{found['metric']['k']}"
        for run in arm["runs"]:
            scores = [run["seed"], metric, run["mean"], *(run["ci95"] or (None, None)), None, None, None]
            writer.writerow([*arm["labels"], *scores, *(run[name] for name in figures), *last])
        gain = arm["difference"] or {"mean": None, "ci95": None}
        scores = ["all", metric, arm["mean"], *(arm["ci95"] or (None, None)), gain["mean"]]
        blank = [None] * len(figures)
        writer.writerow([*arm["labels"], *scores, *(gain["ci95"] or (None, None)), *blank, *last])
    return text.getvalue()


def to_latex(found: Mapping[str, Any]) -> str:
    """A table for a paper; needs the package booktabs."""
    table = make_table(found)
    columns = "l" * len(found["axes"]) + "r" * (len(table.header) - len(found["axes"]))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_latex, table.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{_latex(found['question'])} {_latex(caption(found))}}}",
        rf"\label{{tab:{found['name']}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _finished(ablation: "Ablation", arm: "Arm", seed: int) -> Recipe | None:
    """The recipe of a run whose evaluation stands for exactly these settings, or None."""
    try:
        recipe = load_recipe(ablation.path, ablation.run_of(arm, seed).overrides)
        return recipe if is_whole(recipe, "evaluation") else None
    except InputError:  # what it starts from is not there yet
        return None


def _key(recipe: Recipe, model: str) -> str:
    return next(target.key for target in evaluation_targets(recipe, recipe.run_folder) if target.label == model)


def _training(recipe: Recipe) -> dict[str, Any]:
    """How long the run really trained in SFT, in every measure that could be held equal."""
    blank = dict.fromkeys(("examples", "steps", "trained_tokens", "epochs", "training_seconds"))
    if not recipe.has_result("sft"):
        return blank
    figures = read_result(stage_folder(recipe, "sft"))
    epochs = figures["steps"] * figures["examples_per_step"] / figures["examples"]
    return {name: figures.get(name) for name in blank} | {"epochs": round(epochs, 2)}


def _described(
    arm: "Arm",
    runs: Mapping[int, dict[str, Any]],
    counts: Mapping[int, Counts],
    first: Mapping[int, Counts],
    k: int,
    resamples: int,
) -> dict[str, Any]:
    for seed, run in runs.items():
        chance = derive_seed(seed, "ablation", "run")
        run |= _estimate(estimate_pass_at_k(list(counts[seed].values()), k, resamples, chance))
    entry: dict[str, Any] = {"name": arm.name, "labels": list(arm.labels), "runs": list(runs.values())}
    if not runs:
        return entry | {"mean": None, "ci95": None, "problems": 0, "difference": None}
    entry |= _estimate(estimate_over_seeds(list(counts.values()), k, resamples, derive_seed(0, "ablation", "arm")))
    both = [seed for seed in counts if seed in first]
    difference = None
    if both and counts is not first:
        before, after = ([side[seed] for seed in both] for side in (first, counts))
        chance = derive_seed(0, "ablation", "difference")
        difference = _estimate(estimate_difference_over_seeds(before, after, k, resamples, chance))
    return entry | {"difference": difference}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    interval = None if estimate.low is None else [estimate.low, estimate.high]
    return {"mean": estimate.mean, "ci95": interval, "problems": estimate.problems, "left_out": estimate.left_out}


def _pool(ablation: "Ablation") -> str:
    if ablation.has_several_pools:
        return "a synthesis of its own, so the tasks differ too"
    most = ablation.most_solutions or 1
    return "the tasks with an accepted solution" if most < 2 else f"the tasks with at least {most} accepted solutions"


def _difference(difference: Mapping[str, Any] | None) -> str:
    return "–" if difference is None else percent(difference["mean"], difference["ci95"], signed=True)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _latex(text: str) -> str:
    special: Sequence[tuple[str, str]] = (
        ("\\", r"\textbackslash{}"),
        ("&", r"\&"),
        ("%", r"\%"),
        ("_", r"\_"),
        ("#", r"\#"),
        ("$", r"\$"),
        ("×", r"$\times$"),
        ("–", "--"),
        ("≥", r"$\geq$"),
    )
    for written, meant in special:
        text = text.replace(written, meant)
    return text
