"""The report of a run in which everything that others wrote is HTML: statements, styles, file names, answers."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from evaluation.benchmarks import load_benchmarks
from evaluation.config import EvaluationSettings
from evaluation.report.report import build_report
from evaluation.results import load_result
from evaluation.tables import print_results
from reward.config import JudgeSettings
from synth.config import SynthSettings
from synth.pipeline import synthesise
from tests.evaluation.measured import evaluate_model
from xcoder_core.files import write_json
from xcoder_core.models.request import Completion, Request
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.stage import StageContext
from xcoder_train.stages import STAGES

TITLES: dict[str, str] = {stage.name: stage.title for stage in STAGES.values()}

HOSTILE = "--></svg></title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>"


class Hostile:
    """A model whose answers are HTML."""

    def generate(self, requests: Iterable[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        for request in requests:
            yield Completion(request.id, f"```python\n# {HOSTILE}\n```{HOSTILE}", (1, 2), "stop", 1, 2)


class Elements(HTMLParser):
    """What a browser would make of a page: the elements with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_that_others_wrote_becomes_an_element_of_the_page_or_steers_the_terminal(
    rows: dict[str, Callable[..., dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    bench = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    bench.write_text(json.dumps(rows["stdin"](question_content=f"Print it. {HOSTILE}", platform=HOSTILE)) + "\n")
    asked = EvaluationSettings(samples=1, k=(1,), bootstrap=100)
    benchmarks = load_benchmarks([f"file:{bench}"], None)
    target = run / "evaluation" / "base-key"
    evaluate_model(asked, JudgeSettings(workers=1), benchmarks, "base", Hostile(), target, 0, "plain")
    label = "[/]\x1b[2J"
    print_results({label: replace(load_result(target), label=label)}, {})
    shown_on_terminal = capsys.readouterr().out
    assert "[/]\\x1b[2J" in shown_on_terminal and "\x1b[2J" not in shown_on_terminal
    StageContext("run", "evaluation", "key", run / "evaluation", 0, {}).finish(models={"base": "base-key"})
    answer = {"query": f"Sort. {HOSTILE}", "response": f"{HOSTILE}\n```python\nprint(1)\n```", "style": HOSTILE}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([answer]), tmp_path / "hybrid_376k.parquet")
    settings = SynthSettings.model_validate(
        {"import": [{"source": "x-coder-sft-376k", "path": str(tmp_path / "hybrid_376k.parquet")}]}
    )
    synthesise(settings, JudgeSettings(), "plain", StageContext("run", "synth", "key", run / "synth", 0, {}))
    (run / "recipe.yaml").write_text(f"name: run # {HOSTILE}\n")
    write_json(run / "manifest.json", {"run": "run", "seed": 0, "versions": {HOSTILE: HOSTILE}, "stages": {}})

    output = run / "report.html"
    build_report(run, {"evaluation": run / "evaluation", "synth": run / "synth"}, output, 4, TITLES)
    page = output.read_text(encoding="utf-8")
    found = Elements(page)
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not {name for name in found.attributes if name.startswith("on") or name == "src"}
    shown = found.text.count("<script>alert(1)</script>")
    assert shown >= 5  # statement, program, completion, recipe, versions: told, and told as text
