"""A stored curve guards each trainer: what it computes does not change unless somebody means it to.

Data, model and rollouts are written down here or follow from a seed, so only a change of the trainer, or of torch, TRL
or transformers, moves a curve. Where a move is meant: `python -m tests.xcoder_train.training.test_reference_curves`
writes the curves anew, and the commit says why.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.xcoder_train.training.credit_run import train as train_grpo
from xcoder_core.problem import Problem
from xcoder_core.records import write_records
from xcoder_core.stage import StageContext, SynthLayout
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.stage import perform

CURVES = Path(__file__).with_name("reference_curves.json")
SFT = {
    "name": "curve",
    "seed": 3,
    "model": {"init": {"hidden_size": 32, "intermediate_size": 48, "layers": 2, "vocabulary": 320}},
    "sft": {
        "batch": 6,
        "micro_batch": 2,
        "max_length": 256,
        "training": {"learning_rate": 1e-2, "max_steps": 8, "logging_steps": 1, "save_strategy": "no"},
    },
}


def _sft_curve(folder: Path) -> list[dict[str, float]]:
    """Packed rows of several lengths, two passes a step, two epochs."""
    words = ["add", "double", "reverse", "sort", "count"]
    rows = [
        {
            "problem_id": f"p{n}",
            "solution_index": 0,
            "style": "codeforces",
            "is_golden": True,
            "completion": [{"role": "assistant", "content": f"```python\nprint({word}({n}))\n```" * (1 + n % 3)}],
        }
        for n, word in enumerate(words * 4)
    ]
    layout = SynthLayout(folder / "synth")
    table = layout.dataset("sft") / "train.parquet"
    table.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    problems = (
        Problem(f"p{n}", f"Please {word} {n} numbers.", "codeforces", "stdin") for n, word in enumerate(words * 4)
    )
    write_records(layout.problems, Problem, problems, ("problem_id",))
    stage = folder / "stage"
    stage.mkdir()
    recipe = Recipe.model_validate(SFT)
    perform(recipe, StageContext("curve", "sft", "key", stage, recipe.seed, {"synth": folder / "synth"}))
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("loss", "grad_norm", "num_tokens")} for line in lines]


def _grpo_curve(folder: Path) -> list[dict[str, float]]:
    """Rollouts that are written down, real judging, two epochs."""
    train_grpo(folder / "run", 1, save_strategy="no", learning_rate=1e-2)
    lines = [line for line in json.loads((folder / "run" / "log-0.json").read_text()) if "reward" in line]
    return [{name: line[name] for name in ("loss", "grad_norm", "reward", "num_tokens")} for line in lines]


MAKERS: dict[str, Callable[[Path], list[dict[str, float]]]] = {"sft": _sft_curve, "grpo": _grpo_curve}


@pytest.mark.parametrize("trainer", MAKERS)
def test_the_trainer_computes_what_it_computed_before(trainer: str, tmp_path: Path) -> None:
    stored: list[dict[str, Any]] = json.loads(CURVES.read_text())[trainer]
    curve = MAKERS[trainer](tmp_path)
    assert len(curve) == len(stored) >= 4
    for step, (line, before) in enumerate(zip(curve, stored, strict=True), start=1):
        # Another processor or another torch rounds otherwise; a changed trainer differs in the first digits.
        assert line == pytest.approx(before, rel=1e-3, abs=1e-4), f"step {step}"


if __name__ == "__main__":
    made = {}
    for name, make in MAKERS.items():
        with TemporaryDirectory() as temporary:
            made[name] = make(Path(temporary))
    CURVES.write_text(json.dumps(made, indent=1) + "\n")
