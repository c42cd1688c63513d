"""The figures of docs/scaling.md are those of the plan, and its arithmetic gives them."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from xcoder_train.plan.make import make_plan

ROOT = Path(__file__).parents[2]
UNITS = {"GiB": 2**30, "B": 1e9}


def rows() -> list[list[str]]:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    table = page.partition("<!-- arithmetic -->")[2].partition("<!-- end of the arithmetic -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def read(shown: str) -> tuple[float, float]:
    """A figure as shown, in bytes or numbers, and half of its last place."""
    number, _, unit = shown.replace(",", "").partition(" ")
    scale = UNITS.get(unit, 1)
    places = len(number.partition(".")[2])
    return float(number) * scale, 0.5 * 10**-places * scale


def worked_out(arithmetic: str) -> float:
    terms, _, unit = arithmetic.partition(" GiB")
    text = f"({terms}) * {UNITS['GiB']}" if arithmetic != terms else arithmetic
    text = text.replace("×", "*")
    assert not unit and re.fullmatch(r"[\d.e+*/() -]+", text), arithmetic
    return float(eval(text))


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return make_plan(Path("recipes/xcoder-qwen2.5-7b.yaml"), []).figures["stages"]


def test_every_figure_of_the_page_is_the_plans_and_follows_from_its_arithmetic(stages: dict[str, Any]) -> None:
    found = rows()
    assert len(found) > 25
    for told, arithmetic, shown, key in found:
        value, margin = read(shown)
        planned: Any = stages
        for name in key.split("."):
            planned = planned[name]
        assert planned == pytest.approx(value, abs=margin * 1.001), (told, planned)
        own = worked_out(arithmetic)
        own = math.ceil(own) if "rounded up" in told else own
        # Lines that go on from a rounded figure of a line before carry its rounding.
        assert own == pytest.approx(value, abs=max(margin, 1e-3 * value)), (told, own)


def test_what_the_text_says_of_24_million_executions_and_of_a_models_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    by_model = make_plan(Path("recipes/synthesis/openai.yaml"), ["synth.splits.train.tasks=200000"]).figures["stages"][
        "synth"
    ]
    assert f"{by_model['disk'] / 2**30:.1f} GiB" in page
    assert 200_000 * 8 * 15 == 24_000_000 and f"{24e6 * 0.1 / 3600:.1f} core-hours" in page
