"""One self-contained HTML page of a run: everything that it has, and a line on what it has not."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2

from evaluation.config import MODELS, model_look
from evaluation.evaluate import compare
from evaluation.report.examples import Example, choose_examples
from evaluation.report.plots import Figure
from evaluation.report.scores import BenchmarkPart, benchmark_parts, interval
from evaluation.report.stages import (
    coverage_tables,
    difficulty_tables,
    funnel_tables,
    grpo_figures,
    sft_figures,
    synthesis_figures,
)
from evaluation.results import ModelResult, load_results
from evaluation.tables import Table, share
from xcoder_core.files import read_object, write_text
from xcoder_core.stage import RESULT_FILE

PHONE_CHARACTERS, CELL_PADDING = 48, 1  # what a line of a table holds on a phone, and what lies between its cells


@dataclass
class Page:
    """What the template shows; a part that is empty is left out and `missing` says so."""

    run: str
    results: Mapping[str, ModelResult] = field(default_factory=dict)
    benchmarks: list[BenchmarkPart] = field(default_factory=list)
    sft: list[Figure] = field(default_factory=list)
    grpo: list[Figure] = field(default_factory=list)
    synthesis_tables: list[Table] = field(default_factory=list)
    synthesis_figures: list[Figure] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    recipe: str = ""
    costs: list[Table] = field(default_factory=list)
    origin: list[Table] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def build_report(
    run_folder: Path, stage_folders: Mapping[str, Path], output: Path, samples: int, titles: Mapping[str, str]
) -> None:
    """Write the page of the run in `run_folder` to `output`, which needs no network and no other file.

    `stage_folders` maps "synth", "sft", "grpo" and "evaluation" to the folders of the finished stages that there are;
    `titles` says how each stage is called, in their order; at most `samples` completions are shown.
    """
    page = Page(run=read_object(run_folder / "manifest.json").get("run", run_folder.name))
    _add_evaluation(page, stage_folders.get("evaluation"), samples)
    for stage, draw, target in (("sft", sft_figures, page.sft), ("grpo", grpo_figures, page.grpo)):
        if stage not in stage_folders:
            page.missing.append(f"{titles[stage]}: this run has none.")
        else:
            target += draw(stage_folders[stage])
            if not target:
                page.missing.append(f"{titles[stage]} curves: the stage logged no metrics.")
    synthesis = stage_folders.get("synth")
    if synthesis is None:
        page.missing.append("Synthesis: this run has none.")
    else:
        funnel = funnel_tables(synthesis)
        if not funnel:
            page.missing.append("Synthesis funnel: the stage left none.")
        page.synthesis_tables = [*funnel, *difficulty_tables(synthesis), *coverage_tables(synthesis)]
        page.synthesis_figures = synthesis_figures(synthesis)
    recipe = run_folder / "recipe.yaml"
    if recipe.exists():
        page.recipe = recipe.read_text(encoding="utf-8")
    else:
        page.missing.append("Recipe: the run's folder holds no recipe.yaml.")
    _add_origin(page, run_folder, stage_folders, titles)
    write_text(output, _render(page))


def _add_evaluation(page: Page, folder: Path | None, samples: int) -> None:
    results = load_results(folder) if folder is not None else {}
    if not results:
        page.missing.append("Scores: this run has no evaluation.")
        return
    for label, model in MODELS.items():
        if label not in results:
            page.missing.append(f"{model.name}: not evaluated.")
    page.results = results
    page.benchmarks = benchmark_parts(results, compare(results))
    page.examples = choose_examples(results, samples)
    page.costs.append(_evaluation_costs(results))


def _evaluation_costs(results: Mapping[str, ModelResult]) -> Table:
    """What each model's evaluation took. A server's price is known where the settings have one."""
    rows = []
    for label, result in results.items():
        seconds = read_object(result.layout.timings)
        times = [_duration(seconds[part]) if part in seconds else "–" for part in ("sampling", "judging")]
        entries = result.scores["benchmarks"].values()
        prompts = sum(entry["prompt_tokens"] for entry in entries)
        completions = sum(entry["completion_tokens"] for entry in entries)
        cost = read_object(result.folder / "generation.json").get("cost")
        rows.append([label, *times, f"{prompts:,}", f"{completions:,}", "–" if cost is None else f"{cost:,.2f}"])
    header = ["model", "sampling", "judging", "prompt tokens", "completion tokens", "price"]
    return Table("What the evaluation took", header, rows)


def _add_origin(page: Page, run_folder: Path, stage_folders: Mapping[str, Path], titles: Mapping[str, str]) -> None:
    """Time and figures of each stage; versions, seed and commit."""
    manifest = read_object(run_folder / "manifest.json")
    noted = manifest.get("stages", {})
    rows = []
    for stage, name in titles.items():
        seconds = noted.get(stage, {}).get("seconds")
        figures = _stage_figures(stage_folders[stage]) if stage in stage_folders else {}
        if seconds is None and not figures:
            continue
        said = "; ".join(f"{key.replace('_', ' ')}: {_figure(value)}" for key, value in figures.items())
        rows.append([name, "–" if seconds is None else _duration(seconds), said or "–"])
    if rows:
        rows.append(["all", _duration(sum(noted.get(stage, {}).get("seconds") or 0 for stage in titles)), "–"])
        page.costs.insert(0, Table("Stages", ["stage", "time", "figures"], rows, ends_in_prose=True))
    if not manifest:
        page.missing.append("Time per stage, versions and seed: the run's folder holds no manifest.json.")
        return
    facts = [["seed", str(manifest.get("seed", "–"))], ["git commit", manifest.get("git_commit") or "–"]]
    if len(manifest.get("command", ())) > 1:
        facts.append(["command", shlex.join(["xcoder", *manifest["command"][1:]])])
    facts += [[name, str(version or "–")] for name, version in manifest.get("versions", {}).items()]
    page.origin.append(Table("Versions, seed and command", ["what", "value"], facts, ends_in_prose=True))


def _stage_figures(folder: Path) -> dict[str, int | float | str]:
    """The plain numbers and words that a stage left of itself."""
    shown = read_object(folder / RESULT_FILE).items()
    hidden = ("stage", "key", "data", "fingerprint")
    return {name: value for name, value in shown if name not in hidden and isinstance(value, int | float | str)}


def _render(page: Page) -> str:
    package = files("evaluation.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["wide"] = _is_wide
    environment.filters |= {"interval": interval, "look": model_look, "share": share}
    template = environment.from_string(package.joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(page=page, style=package.joinpath("style.css").read_text(encoding="utf-8"))


def _is_wide(table: Table) -> bool:
    """Whether a phone shows a row of it as a list, because it would not fit beside each other."""
    columns = zip(table.header, *table.rows, strict=True)
    return table.ends_in_prose or sum(max(map(len, cells)) + CELL_PADDING for cells in columns) > PHONE_CHARACTERS


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _figure(value: int | float | str) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
