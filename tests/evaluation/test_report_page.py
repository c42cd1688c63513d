"""A report as a browser meets it: every breakdown of a dated benchmark, contrast, and Chromium at a phone's width."""

import re
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from evaluation.config import EvaluationSettings
from evaluation.livecodebench import load_livecodebench
from evaluation.report.plots import GRID, INK
from evaluation.report.report import build_report
from reward.config import JudgeSettings
from tests.evaluation.measured import evaluate_model
from tests.evaluation.page import BROWSERS, Outline, colour_pairs, contrast, framed, run_browser
from xcoder_core.stage import StageContext
from xcoder_train.stages import STAGES

TITLES: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}

SUM = "```python\nprint(sum(map(int, input().split())))\n```"
ITERATES = "```python\nimport sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))\n```"
DOUBLE = "```python\nclass Solution:\n    def double(self, x):\n        return 2 * x\n```"
WRONG = "```python\nprint(0)\n```" + " and so on" * 200
FETCHES = '<img src="http://evil.example/x.png"><script src="http://evil.example/x.js"></script>'
STYLE = files("evaluation.report").joinpath("style.css").read_text(encoding="utf-8")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture
def page(rows: Any, write_jsonl: Callable[..., Path], replay: Any, tmp_path: Path) -> str:
    benchmark = load_livecodebench(write_jsonl(rows["stdin"](), rows["function"]()))
    settings = EvaluationSettings(samples=2, k=(1, 2), bootstrap=100, policies=("faithful", "livecodebench"))
    folder = tmp_path / "run" / "evaluation"
    answers = {
        "base": {"sum": [FETCHES, WRONG], "twice": [DOUBLE, WRONG]},
        "rl": {"sum": [SUM, ITERATES], "twice": [DOUBLE] * 2},
    }
    for label, given in answers.items():
        evaluate_model(
            settings, JudgeSettings(workers=1), [benchmark], label, replay(given), folder / label, 7, "plain"
        )
    context = StageContext("run", "evaluation", "k", folder, 7, {})
    context.finish(models={label: label for label in answers})
    build_report(tmp_path / "run", {"evaluation": folder}, tmp_path / "page.html", samples=4, titles=TITLES)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_every_breakdown_of_a_dated_benchmark_is_there_below_its_warnings(page: str) -> None:
    outline = Outline(page)
    for said in (
        "avg@2",
        "Decontamination unknown (base, rl)",
        "verdict policy faithful, extraction last_block",
        "bench: pass@1 by platform",
        "bench: pass@2 by month",
        "bench: pass@k for every k",
        "right samples by tokens of the response",
        "bench: pass@1 under each verdict policy",
        "The policies differ on 1 programs (faithful AC, livecodebench RE: 1).",
        "for line in sys.stdin",
        "rl - base: pass@1 on bench",
        "no code",
        "What the evaluation took",
    ):
        assert said in outline.text, said
    drawn = [attributes["aria-label"] or "" for tag, attributes in outline.elements if tag == "svg"]
    for said in ("by difficulty", "over k", "by month of the contest, 2025-02 to 2025-03", "by tokens of the response"):
        assert any(said in text for text in drawn), said
    assert outline.text.index("Decontamination unknown") < outline.text.index("bench: pass@1, %")
    assert re.search(r'<p class="alarm"><b>Warning\.</b> Decontamination unknown', page)


def test_text_stands_out_from_whatever_it_is_on() -> None:
    variables = dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-fA-F]{6})", STYLE))
    pairs = list(colour_pairs(STYLE, variables["--ink"], (variables["--paper"], variables["--wash"])))
    assert {".alarm", ".verdict.right", ".verdict.wrong", "summary"} <= {selector for selector, _, _ in pairs}
    assert {f"{s}: {a} on {b}": contrast(a, b) for s, a, b in pairs if contrast(a, b) < 4.5} == {}
    assert contrast(INK, "#ffffff") >= 4.5 > contrast(GRID, "#ffffff")
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#767676", "#ffffff") == pytest.approx(
        4.54, abs=0.01
    )


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_in_chromium_the_page_asks_for_nothing_and_a_phone_scrolls_one_way(page: str, tmp_path: Path) -> None:
    assert BROWSER is not None and FETCHES in Outline(page).text
    too_wide = f"<p>{FETCHES}</p><p style='width:700px'>wide</p>"
    seen = {}
    for name, content in (("page", page), ("too wide", too_wide)):
        (tmp_path / f"{name}.html").write_text(framed(content, 390), encoding="utf-8")
        said = run_browser(BROWSER, "--dump-dom", page=tmp_path / f"{name}.html", profile=tmp_path / "profile")
        seen[name] = re.findall(r'<p id="said">wide: (\d+), asked for: (.*?)</p>', said)
    assert seen["page"] == [("390", "")]
    ((width, asked),) = seen["too wide"]
    assert int(width) > 390 and "http://evil.example/x.png" in asked


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_chromium_prints_what_is_folded_on_the_screen(page: str, tmp_path: Path) -> None:
    assert BROWSER is not None
    sizes = {}
    bare = re.sub(r"<details(?! class)[^>]*>.*?</details>", "", page, flags=re.DOTALL)
    for name, content in (("folded", page), ("bare", bare)):
        (tmp_path / f"{name}.html").write_text(content, encoding="utf-8")
        target = tmp_path / f"{name}.pdf"
        run_browser(BROWSER, f"--print-to-pdf={target}", page=tmp_path / f"{name}.html", profile=tmp_path / "profile")
        sizes[name] = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert sizes["folded"] > sizes["bare"] >= 1
