"""One self-contained HTML page of a run: everything that it has, and a line on what it has not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.evaluate import compare
from evaluation.report.examples import Example, choose_examples
from evaluation.report.plots import Figure, group_plot
from evaluation.report.synthesis import (
    agreement_figure,
    coverage_figure,
    coverage_tables,
    difficulty_figures,
    difficulty_tables,
    funnel_tables,
    length_figure,
)
from evaluation.report.training import grpo_figures, sft_figures
from evaluation.results import ModelResult, load_results
from evaluation.tables import Table, score_tables
from xcoder_train.core.files import write_text
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.stage import RESULT_FILE

MODEL_NAMES = {"base": "Base model", "sft": "After SFT", "rl": "After RL"}
STAGE_NAMES = {"synth": "Synthesis", "sft": "SFT", "grpo": "GRPO", "evaluation": "Evaluation", "report": "Report"}


@dataclass(frozen=True)
class Headline:
    """One model's figure at the top of the page."""

    name: str
    score: str
    interval: str


@dataclass
class Page:
    """What the template shows; a part that is empty is left out and `missing` says so."""

    run: str
    benchmark: str = ""
    headlines: list[Headline] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    benchmarks: list[str] = field(default_factory=list)
    score_figures: list[Figure] = field(default_factory=list)
    score_tables: list[Table] = field(default_factory=list)
    failures: list[Table] = field(default_factory=list)
    sft: list[Figure] = field(default_factory=list)
    grpo: list[Figure] = field(default_factory=list)
    synthesis_tables: list[Table] = field(default_factory=list)
    synthesis_figures: list[Figure] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    recipe: str = ""
    stages: list[Table] = field(default_factory=list)
    origin: list[Table] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def build_report(run_folder: Path, stage_folders: Mapping[str, Path], output: Path, samples: int) -> None:
    """Write the page of the run in `run_folder` to `output`, which needs no network and no other file.

    `stage_folders` maps "synth", "sft", "grpo" and "evaluation" to the folders of the finished stages that there are;
    at most `samples` completions are shown.
    """
    manifest = _read_json(run_folder / "manifest.json")
    page = Page(run=manifest.get("run", run_folder.name))
    _add_evaluation(page, stage_folders.get("evaluation"), samples)
    for stage, draw, target in (("sft", sft_figures, page.sft), ("grpo", grpo_figures, page.grpo)):
        if stage not in stage_folders:
            page.missing.append(f"{STAGE_NAMES[stage]}: this run has none.")
        else:
            target += draw(stage_folders[stage])
            if not target:
                page.missing.append(f"{STAGE_NAMES[stage]} curves: the stage logged no metrics.")
    _add_synthesis(page, stage_folders.get("synth"))
    recipe = run_folder / "recipe.yaml"
    if recipe.exists():
        page.recipe = recipe.read_text(encoding="utf-8")
    else:
        page.missing.append("Recipe: the run's folder holds no recipe.yaml.")
    _add_origin(page, manifest, stage_folders)
    write_text(output, _render(page))


def _add_evaluation(page: Page, folder: Path | None, samples: int) -> None:
    results = load_results(folder) if folder is not None else {}
    if not results:
        page.missing.append("Scores: this run has no evaluation.")
        return
    for label in MODEL_NAMES:
        if label not in results:
            page.missing.append(f"{MODEL_NAMES[label]}: not evaluated.")
    differences = compare(results)
    scores = {label: result.scores["benchmarks"] for label, result in results.items()}
    settings = next(iter(results.values())).scores
    first = next(iter(settings["benchmarks"]))
    page.benchmark = settings["benchmarks"][first]["description"]
    page.benchmarks = [f"{name}: {benchmark['description']}" for name, benchmark in settings["benchmarks"].items()]
    main_key = f"pass_at_{settings['k'][0]}"
    for label in results:
        score = scores[label][first][main_key]
        page.headlines.append(
            Headline(
                f"{MODEL_NAMES.get(label, label)}, {_pass_name(main_key)}", _percent(score["mean"]), _interval(score)
            )
        )
    page.remarks = _remarks(results, differences, settings)
    for name, benchmark in settings["benchmarks"].items():
        for k in settings["k"]:
            page.score_figures.append(_group_figure(name, benchmark, k, scores))
        page.failures.append(_failure_table(name, {label: score[name] for label, score in scores.items()}))
    page.remarks += [
        f"Programs of {label} were judged without isolation: a program may have tampered with its verdict."
        for label, result in results.items()
        if "none" in result.judge_tiers
    ]
    page.score_tables = score_tables(results, differences)
    page.examples = choose_examples(results, samples)


def _group_figure(name: str, benchmark: dict[str, Any], k: int, scores: Mapping[str, Any]) -> Figure:
    groups, by = benchmark["groups"], f"by_{benchmark['grouping']}"

    def point(part: dict[str, Any]) -> tuple[float, float, float] | None:
        if part["mean"] is None:
            return None
        return 100 * part["mean"], 100 * part["ci95"][0], 100 * part["ci95"][1]

    entries = {label: score[name][f"pass_at_{k}"] for label, score in scores.items()}
    points = {label: [point(entry), *(point(entry[by][group]) for group in groups)] for label, entry in entries.items()}
    said = "; ".join(f"{label} {_percent(entry['mean'])}" for label, entry in entries.items())
    return group_plot(
        ["all", *groups],
        points,
        f"pass@{k}, %",
        f"pass@{k} on {name}, all problems and by {benchmark['grouping']}, with 95 % intervals. Overall: {said}",
        f"pass@{k} on {name} with 95 % intervals.",
    )


def _remarks(results: Mapping[str, ModelResult], differences: Mapping[str, Any], settings: dict[str, Any]) -> list[str]:
    """In words: each stage's gain, and wherever pass@k with k above 1 falls."""
    labels, remarks = list(results), []
    for (before, after), (pair, per_benchmark) in zip(
        zip(labels, labels[1:], strict=False), differences.items(), strict=True
    ):
        for name, difference in per_benchmark.items():
            for k in settings["k"]:
                benchmark = settings["benchmarks"][name]
                whole = difference[f"pass_at_{k}"]
                parts = {"all problems": whole, **whole[f"by_{benchmark['grouping']}"]}
                for group, part in parts.items():
                    change = part["difference"]
                    if change is None or (group != "all problems" and (k == 1 or change >= 0)):
                        continue
                    scores = [
                        score if group == "all problems" else score[f"by_{benchmark['grouping']}"][group]
                        for score in (results[x].scores["benchmarks"][name][f"pass_at_{k}"] for x in (before, after))
                    ]
                    old, new = _percent(scores[0]["mean"]), _percent(scores[1]["mean"])
                    moved = f"{'falls' if change < 0 else 'rises'} from {old} to {new}" if change else f"stays at {new}"
                    remarks.append(
                        f"{pair}: pass@{k} on {name}, {group}, {moved} (difference {100 * change:+.1f} points, 95 % "
                        f"interval {_interval(part, signed=True)}, which {_certainty(part['ci95'])})."
                    )
    return remarks


def _failure_table(name: str, scores: Mapping[str, Any]) -> Table:
    """What became of the samples of each model, in percent of all."""
    kinds = [
        kind for kind in next(iter(scores.values()))["failures"] if any(s["failures"][kind] for s in scores.values())
    ]
    totals = {label: sum(score["failures"].values()) for label, score in scores.items()}
    rows = [
        [
            "right" if kind == "none" else kind.replace("_", " "),
            *(f"{100 * score['failures'][kind] / totals[label]:.1f} %" for label, score in scores.items()),
        ]
        for kind in kinds
    ]
    rows.append(["samples", *(f"{total:,}" for total in totals.values())])
    rows.append(["tokens per sample", *(f"{s['completion_tokens'] / totals[x]:,.0f}" for x, s in scores.items())])
    return Table(f"What became of the samples on {name}", ["outcome", *scores], rows)


def _add_synthesis(page: Page, folder: Path | None) -> None:
    if folder is None:
        page.missing.append("Synthesis: this run has none.")
        return
    page.synthesis_tables += funnel_tables(folder)
    if not page.synthesis_tables:
        page.missing.append("Synthesis funnel: the stage left none.")
    layout = SynthLayout(folder)
    if layout.problems.exists():
        page.synthesis_tables += [*difficulty_tables(folder), *coverage_tables(folder)]
    figures = [agreement_figure(folder)] if layout.tests.exists() else []
    figures += [*difficulty_figures(folder), length_figure(folder)]
    figures += [coverage_figure(folder)] if layout.problems.exists() else []
    page.synthesis_figures += [figure for figure in figures if figure is not None]


def _add_origin(page: Page, manifest: dict[str, Any], stage_folders: Mapping[str, Path]) -> None:
    """Time and figures of each stage; versions, seed and commit."""
    noted = manifest.get("stages", {})
    rows = []
    for stage, name in STAGE_NAMES.items():
        seconds = noted.get(stage, {}).get("seconds")
        figures = _stage_figures(stage_folders[stage]) if stage in stage_folders else {}
        if seconds is None and not figures:
            continue
        said = "; ".join(f"{key.replace('_', ' ')}: {_figure(value)}" for key, value in figures.items())
        rows.append([name, "–" if seconds is None else _duration(seconds), said or "–"])
    if rows:
        page.stages.append(Table("Stages", ["stage", "time", "figures"], rows, ends_in_prose=True))
    if not manifest:
        page.missing.append("Time per stage, versions and seed: the run's folder holds no manifest.json.")
        return
    facts = [["seed", str(manifest.get("seed", "–"))], ["git commit", manifest.get("git_commit") or "–"]]
    facts += [[name, str(version or "–")] for name, version in manifest.get("versions", {}).items()]
    page.origin.append(Table("Versions and seed", ["what", "value"], facts))


def _stage_figures(folder: Path) -> dict[str, Any]:
    """The plain numbers and words that a stage left of itself."""
    result = _read_json(folder / RESULT_FILE)
    return {k: v for k, v in result.items() if k not in ("stage", "key") and isinstance(v, int | float | str)}


def _render(page: Page) -> str:
    from importlib.resources import files

    import jinja2

    package = files("evaluation.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(package.joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(page=page, style=package.joinpath("style.css").read_text(encoding="utf-8"))


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _pass_name(key: str) -> str:
    return f"pass@{key.removeprefix('pass_at_')}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _interval(part: dict[str, Any], signed: bool = False) -> str:
    if part["ci95"] is None:
        return "no interval"
    form = "{:+.1f}" if signed else "{:.1f}"
    return f"[{form.format(100 * part['ci95'][0])}, {form.format(100 * part['ci95'][1])}]"


def _certainty(interval: list[float]) -> str:
    return "includes 0" if interval[0] <= 0 <= interval[1] else "excludes 0"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
