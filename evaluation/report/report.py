"""One self-contained HTML page of a run: everything that it has, and a line on what it has not."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from evaluation.config import MODELS, model_look
from evaluation.evaluate import compare
from evaluation.report.examples import choose_examples
from evaluation.report.plots import Figure
from evaluation.report.scores import benchmark_parts, interval
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
from xcoder_core.files import JsonObject, read_object, write_text
from xcoder_core.stage import RESULT_FILE
from xcoder_core.templates import Filters, filled

HERE = Path(__file__).parent
PHONE_CHARACTERS, CELL_PADDING = 48, 1  # what a line of a table holds on a phone, and what lies between its cells


def build_report(
    run_folder: Path, stage_folders: Mapping[str, Path], output: Path, samples: int, titles: Mapping[str, str]
) -> None:
    """Write the page of the run in `run_folder` to `output`, which needs no network and no other file.

    `stage_folders` maps "synth", "sft", "rates", "grpo" and "evaluation" to the folders of those that are finished;
    `titles` says how each stage is called, in their order; at most `samples` completions are shown. A part that is not
    there is left out, and the page says so.
    """
    missing = []
    results = load_results(stage_folders["evaluation"]) if "evaluation" in stage_folders else {}
    if not results:
        missing.append("Scores: this run has no evaluation.")
    else:
        missing += [f"{model.name}: not evaluated." for label, model in MODELS.items() if label not in results]
    curves: dict[str, list[Figure]] = {}
    for stage, draw in (("sft", sft_figures), ("grpo", grpo_figures)):
        curves[stage] = draw(stage_folders[stage]) if stage in stage_folders else []
        if stage not in stage_folders:
            missing.append(f"{titles[stage]}: this run has none.")
        elif not curves[stage]:
            missing.append(f"{titles[stage]} curves: the stage logged no metrics.")
    tables, figures = [], []
    if "synth" not in stage_folders:
        missing.append("Synthesis: this run has none.")
    else:
        synthesis = stage_folders["synth"]
        tables, figures = funnel_tables(synthesis), synthesis_figures(synthesis)
        if not tables:
            missing.append("Synthesis funnel: the stage left none.")
        tables += [*difficulty_tables(synthesis), *coverage_tables(synthesis)]
    recipe, manifest = run_folder / "recipe.yaml", read_object(run_folder / "manifest.json")
    if not recipe.exists():
        missing.append("Recipe: the run's folder holds no recipe.yaml.")
    if not manifest:
        missing.append("Time per stage, versions and seed: the run's folder holds no manifest.json.")
    values = dict(
        run=manifest.get("run", run_folder.name),
        missing=missing,
        results=results,
        benchmarks=benchmark_parts(results, compare(results)) if results else [],
        sft=curves["sft"],
        grpo=curves["grpo"],
        synthesis_tables=tables,
        synthesis_figures=figures,
        examples=choose_examples(results, samples) if results else [],
        costs=[*_stage_costs(manifest, stage_folders, titles), *([_evaluation_costs(results)] if results else [])],
        origin=_origin(manifest),
        recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        style=(HERE / "style.css").read_text(encoding="utf-8"),
    )
    filters: Filters = {"interval": interval, "look": model_look, "share": share, "is_wide": _is_wide}
    options = {"autoescape": True, "keep_trailing_newline": False}
    write_text(output, filled("evaluation.report", "template.html.j2", values, filters, **options))


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


def _stage_costs(manifest: JsonObject, stage_folders: Mapping[str, Path], titles: Mapping[str, str]) -> list[Table]:
    """Time and figures of each stage."""
    noted = manifest.get("stages", {})
    rows = []
    for stage, name in titles.items():
        seconds = noted.get(stage, {}).get("seconds")
        figures = _stage_figures(stage_folders[stage]) if stage in stage_folders else {}
        if seconds is None and not figures:
            continue
        said = "; ".join(f"{key.replace('_', ' ')}: {_figure(value)}" for key, value in figures.items())
        rows.append([name, "–" if seconds is None else _duration(seconds), said or "–"])
    if not rows:
        return []
    rows.append(["all", _duration(sum(noted.get(stage, {}).get("seconds") or 0 for stage in titles)), "–"])
    return [Table("Stages", ["stage", "time", "figures"], rows, ends_in_prose=True)]


def _origin(manifest: JsonObject) -> list[Table]:
    """Versions, seed and commit."""
    if not manifest:
        return []
    facts = [["seed", str(manifest.get("seed", "–"))], ["git commit", manifest.get("git_commit") or "–"]]
    if len(manifest.get("command", ())) > 1:
        facts.append(["command", shlex.join(["xcoder", *manifest["command"][1:]])])
    facts += [[name, str(version or "–")] for name, version in manifest.get("versions", {}).items()]
    return [Table("Versions, seed and command", ["what", "value"], facts, ends_in_prose=True)]


def _stage_figures(folder: Path) -> dict[str, int | float | str]:
    """The plain numbers and words that a stage left of itself."""
    shown = read_object(folder / RESULT_FILE).items()
    hidden = ("stage", "key", "data", "fingerprint")
    return {name: value for name, value in shown if name not in hidden and isinstance(value, int | float | str)}


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
