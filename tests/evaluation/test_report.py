"""The page of a run whose folders real writers made: a small synthesis, real evaluations, logged metrics."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from evaluation.evaluate import compare
from evaluation.report.examples import choose_examples, shortened
from evaluation.report.report import build_report
from evaluation.report.stages import difficulty_tables
from evaluation.results import load_results
from evaluation.tables import print_results, score_tables, to_markdown
from reward.config import JudgeSettings
from synth.config import SplitSettings, SynthSettings, VerificationSettings
from synth.pipeline import synthesise
from synth.publication import SftRow
from tests.evaluation.measured import evaluate_model
from tests.evaluation.page import Outline
from xcoder_core.files import write_json, write_text
from xcoder_core.models.prompt import code_response
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.problem import Problem, Solution
from xcoder_core.records import read_records
from xcoder_core.seeds import derive_seed
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.grpo.step_times import PARTS
from xcoder_train.stages import STAGES

TITLES: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}

TITLES: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}

HOSTILE = '<script>alert("model")</script><img src="http://evil.example/x.png">'
HOSTILE_ANSWER = f'Look: {HOSTILE}\n```python\nprint("{HOSTILE.replace(chr(34), chr(39))}")\n```'
LABELS = ("base", "sft", "rl")


class Student:
    """A model that knows the golden program of a share of the problems, and otherwise writes hostile HTML."""

    def __init__(self, golden: Mapping[str, str], skill: float) -> None:
        self.golden, self.skill = golden, skill

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        for request in requests:
            name = request.id.partition("/")[0]
            knows = derive_seed("luck", request.seed) % 1000 < 1000 * self.skill
            text = code_response(self.golden[name]) if knows else HOSTILE_ANSWER
            yield Completion(request.id, text, tuple(range(40)), "stop", 10, 40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("runs") / "small"
    stages = {name: folder / name for name in ("synth", "sft", "grpo", "evaluation")}
    judge = JudgeSettings(workers=2)
    settings = SynthSettings(
        splits={
            "sft": SplitSettings(use="sft", tasks=6, depth=(1,)),
            "depth_1": SplitSettings(use="evaluation", tasks=8, depth=(1,)),
            "depth_2": SplitSettings(use="evaluation", tasks=8, depth=(2,)),
        },
        inputs_per_task=6,
        candidates_per_task=4,
        verification=VerificationSettings(minimum_tests=2),
    )
    synthesise(settings, judge, "plain", StageContext("small", "synth", "k1", stages["synth"], 7, {}))
    golden = {
        s.problem_id: s.code for s in read_records(SynthLayout(stages["synth"]).solutions, Solution) if s.is_golden
    }
    benchmarks = load_benchmarks(["heldout"], stages["synth"])
    asked = EvaluationSettings(samples=4, k=(1, 4), bootstrap=500)
    for label, skill in zip(LABELS, (0.05, 0.5, 0.8), strict=True):
        target = stages["evaluation"] / f"{label}-key"
        evaluate_model(asked, judge, benchmarks, label, Student(golden, skill), target, 7, "plain")
    context = StageContext("small", "evaluation", "k4", stages["evaluation"], 7, {})
    context.finish(models={label: f"{label}-key" for label in LABELS})
    for stage, rows in (("sft", sft_metrics()), ("grpo", grpo_metrics())):
        write_text(stages[stage] / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        StageContext("small", stage, "k", stages[stage], 7, {}).finish(steps=len(rows), training_seconds=61.5)
    write_text(folder / "recipe.yaml", "name: small  # <b>bold</b>\nseed: 7\n")
    noted = {name: {"seconds": 90.0 * place} for place, name in enumerate(stages, 1)}
    write_json(
        folder / "manifest.json",
        {"run": "small", "seed": 7, "git_commit": "abc", "versions": {"torch": "2.13"}, "stages": noted},
    )
    return folder, stages


def sft_metrics() -> list[dict[str, Any]]:
    return [{"step": step, "loss": 2.0 / (1 + step / 50)} for step in range(1, 1500)] + [{"step": 1500, "runtime": 3}]


def grpo_metrics() -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "reward": step / 40,
            "frac_reward_zero_std": 0.5 - step / 200,
            "verdicts/AC": step / 100,
            "verdicts/WA": 0.9 - step / 100,
            "verdicts/no code": 0.1,
            "verdicts/IE": 0.0,
            **{f"timing/{part}_runtime": 0.0 for part in PARTS},
            "timing/sampling_runtime": 6.0,
            "timing/update_runtime": 3.0,
            "timing/judging_runtime": 1.0,
            "timing/step_runtime": 10.0,
        }
        for step in range(1, 61)
    ]


@pytest.fixture(scope="module")
def page(run: tuple[Path, dict[str, Path]]) -> str:
    folder, stages = run
    output = folder / "report.html"
    build_report(folder, stages, output, samples=12, titles=TITLES)
    return output.read_text(encoding="utf-8")


def test_the_page_stands_alone_and_is_small(page: str) -> None:
    assert len(page.encode()) < 3 * 2**20
    outline = Outline(page)
    assert not {tag for tag, _ in outline.elements} & {"script", "link", "img", "iframe", "object", "embed", "base"}
    for tag, attributes in outline.elements:
        for name, value in attributes.items():
            assert name not in ("src", "srcset", "action", "onload"), (tag, name)
            if name in ("href", "xlink:href"):
                assert (value or "").startswith("#"), (tag, value)
            if name == "style":
                assert "url(" not in (value or "").replace("url(#", "")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style and "url(" not in style


def test_what_a_model_writes_is_shown_and_never_obeyed(page: str) -> None:
    assert "<script" not in page and "&lt;script&gt;alert(" in page
    assert HOSTILE in Outline(page).text
    assert "<b>bold</b>" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page


def test_every_part_of_a_whole_run_is_there(page: str, run: tuple[Path, dict[str, Path]]) -> None:
    outline = Outline(page)
    for said in (
        "Base model, pass@1",
        "After RL, pass@1",
        "pass@4",
        "rl - sft",
        "depth_1",
        "tasks made",
        "tasks kept",
        "labels that are right",
        "codeforces",
        "SFT loss over 1499 steps",
        "GRPO mean reward",
        "Verdicts on GRPO rollouts",
        "unanimous",
        "Solved by",
        "torch",
        "The recipe",
    ):
        assert said in outline.text, said
    assert "Not in this report" not in outline.text
    results = load_results(run[1]["evaluation"])
    score = results["rl"].scores["benchmarks"]["heldout"]["pass_at_1"]
    assert f"{100 * score['mean']:.1f} %" in outline.text


def test_headings_are_in_order_and_plots_have_words(page: str) -> None:
    elements = Outline(page).elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    plots = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(plots) >= 6
    assert all(plot.get("role") == "img" and plot.get("aria-label") and plot.get("viewbox") for plot in plots)
    assert all("width" not in plot and "height" not in plot for plot in plots)
    names = [attributes["id"] for _, attributes in elements if "id" in attributes]
    own = [name for name in names if name and re.match(r"[mp]?[0-9a-f]{8,}$", name)]
    assert len(own) == len(set(own))


def test_the_same_run_gives_the_same_page(page: str, run: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    folder, stages = run
    build_report(folder, stages, tmp_path / "again.html", samples=12, titles=TITLES)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_a_fall_of_pass_at_k_and_a_judge_without_isolation_are_said_in_words(
    run: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    folder, stages = run
    backwards = {"base": "rl-key", "sft": "sft-key", "rl": "base-key"}
    for name in backwards.values():
        target = tmp_path / "evaluation" / name
        target.mkdir(parents=True)
        for file in (stages["evaluation"] / name).iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        scores = json.loads((target / "scores.json").read_text())
        label = next(label for label, folder_name in backwards.items() if folder_name == name)
        write_json(target / "scores.json", {**scores, "label": label})
        write_json(target / "judge_tiers.json", ["none"] if label == "sft" else ["B"])
    StageContext("small", "evaluation", "k", tmp_path / "evaluation", 7, {}).finish(models=backwards)
    build_report(folder, {"evaluation": tmp_path / "evaluation"}, tmp_path / "page.html", samples=3, titles=TITLES)
    text = Outline((tmp_path / "page.html").read_text()).text
    assert re.search(r"rl - sft: pass@4 on heldout, all problems, falls from \d", text)
    assert "Programs of sft were judged without isolation" in text and "Programs of rl were" not in text


def test_the_time_of_a_step_is_shown_by_its_parts(page: str) -> None:
    text = Outline(page).text
    assert "Time of a GRPO step, 10.0 seconds on average: sampling 60%, update 30%, judging 10%" in text


def test_what_a_run_lacks_is_said_and_not_shown(run: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    _, stages = run
    build_report(tmp_path / "empty", {"sft": stages["sft"]}, tmp_path / "page.html", samples=12, titles=TITLES)
    text = Outline((tmp_path / "page.html").read_text()).text
    for said in ("no evaluation", "GRPO: this run has none", "Synthesis: this run has none", "no recipe.yaml"):
        assert said in text
    assert "Sample problems" not in text and "SFT loss" in text


def test_no_more_completions_than_asked(run: tuple[Path, dict[str, Path]]) -> None:
    results = load_results(run[1]["evaluation"])
    for samples, shown in ((0, 0), (2, 0), (3, 3), (7, 6)):
        assert sum(len(example.answers) for example in choose_examples(results, samples)) == shown


def test_a_long_completion_is_cut_by_its_size_on_the_page() -> None:
    assert shortened("<" * 10, 40) == "<" * 10
    assert shortened("<" * 11, 40) == "<" * 10 + "\n… 1 more characters are not shown"


def test_tables_agree_in_every_form(run: tuple[Path, dict[str, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    results = load_results(run[1]["evaluation"])
    differences = compare(results)
    first = score_tables(results, differences)[0]
    assert first.header == ["depth", "problems", "base", "sft", "rl", "sft - base", "rl - sft"]
    assert [row[0] for row in first.rows] == ["all", "depth_1", "depth_2"]
    markdown = to_markdown(first).splitlines()
    assert len(markdown) == 5 and markdown[2].startswith("| all | ")
    print_results(results, differences)
    assert "held-out problems" in capsys.readouterr().out


def test_a_benchmark_of_one_group_has_one_line(run: tuple[Path, dict[str, Path]]) -> None:
    result = load_results(run[1]["evaluation"])["sft"]
    scores = json.loads(json.dumps(result.scores))
    entry = scores["benchmarks"]["heldout"]
    entry["groups"] = ["heldout"]
    for k in scores["k"]:
        entry[f"pass_at_{k}"]["by_depth"] = {"heldout": {**entry[f"pass_at_{k}"], "by_depth": None}}
    for table in score_tables({"sft": replace(result, scores=scores)}, {}):
        assert [row[0] for row in table.rows] == ["all"]


def test_many_models_are_printed_whole_and_what_they_share_once(
    run: tuple[Path, dict[str, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    result = load_results(run[1]["evaluation"])["sft"]
    labels = [f"model {number}" for number in range(7)]
    print_results(dict.fromkeys(labels, result), {})
    said = capsys.readouterr().out
    assert "…" not in said and said.count("extraction") == 1 and f"{', '.join(labels)}: policy" in said
    rows = [line for line in said.splitlines() if line.startswith((" all ", " depth "))]
    assert max(len(row.rstrip()) for row in rows) <= 80
    assert all(sum(label in row for row in rows) == len(score_tables({"sft": result}, {})) for label in labels)


def test_difficulty_lengths_and_coverage_are_those_of_the_tables(page: str, run: tuple[Path, dict[str, Path]]) -> None:
    layout = SynthLayout(run[1]["synth"])
    problems = {row.problem_id: row for row in read_records(layout.dataset("sft") / "train.parquet", SftRow)}
    (table,) = difficulty_tables(layout.folder)
    assert sum(int(row[1]) for row in table.rows) == len(problems)
    easy = [row for row in problems.values() if row.difficulty == "easy"]
    assert ["SFT, easy", str(len(easy))] in [row[:2] for row in table.rows]
    features = {feature for problem in read_records(layout.problems, Problem) for feature in problem.features}
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert any(f"by category, {len(features)} in all" in text for text in captions)
    assert any(f"the {len(problems)} problems of the SFT dataset" in text for text in captions)
    lengths = [len(solution.response) for solution in read_records(layout.solutions, Solution)]
    assert any(f"{len(lengths)} answers" in text and f"longest {max(lengths):,}" in text for text in captions)
