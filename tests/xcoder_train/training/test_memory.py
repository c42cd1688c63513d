"""The plan's estimate of memory against the peak of a process that trains."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from xcoder_core.layout import SynthLayout
from xcoder_core.models.initial import initialise_model
from xcoder_core.models.settings import InitSettings
from xcoder_core.models.shape import model_shape
from xcoder_core.models.trained import save_model
from xcoder_train.plan.sft import estimate_sft
from xcoder_train.plan.training import MemoryEstimate
from xcoder_train.recipe.schema import Recipe
from xcoder_train.sft.data import corpus, read_rows

SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "layers": 8, "heads": 8, "kv_heads": 4, "vocabulary": 960}
PROJECT = Path(__file__).parents[3]


LORA = {"lora": {"rank": 16, "alpha": 16}}
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("shape", "section", "training"),
    [
        ({}, {}, {}),
        ({}, {}, {"activation_checkpointing": True}),
        ({}, {}, {"bf16": True}),
        ({}, LORA, {}),
        ({"hidden_size": 768, "layers": 3, "intermediate_size": 2048}, {}, {}),
    ],
    ids=["full", "checkpointed", "bf16", "lora", "wide"],
)
def test_the_estimate_is_within_15_percent_of_the_measured_peak(
    synthesis: Path, tmp_path: Path, shape: dict[str, Any], section: dict[str, Any], training: dict[str, Any]
) -> None:
    model = {"init": {**SHAPE, "context": 512, **shape}}
    estimated, before, peak = _estimated_and_measured(model, section, training, tmp_path, synthesis)
    assert estimated.total - estimated.runtime == pytest.approx(peak - before, rel=0.15)


@pytest.mark.parametrize("rows", ["packed", "whole"])
@pytest.mark.parametrize("section", [{}, LORA], ids=["full", "lora"])
def test_a_large_vocabulary_takes_the_memory_that_is_planned(
    synthesis: Path, tmp_path: Path, rows: str, section: dict[str, Any]
) -> None:
    texts = corpus(read_rows(SynthLayout(synthesis), verified=True, prompt_style="plain"))
    model, tokenizer = initialise_model(
        InitSettings(hidden_size=256, intermediate_size=704, layers=4, context=512, vocabulary=960), texts, seed=0
    )
    model.resize_token_embeddings(49_152, mean_resizing=False)
    save_model(model, tokenizer, tmp_path / "start")
    if rows == "whole":
        section = {**section, "packing": False, "batch": 16, "micro_batch": 16, "max_length": 160}
    path = {"path": str(tmp_path / "start")}
    estimated, before, peak = _estimated_and_measured(path, section, {}, tmp_path, synthesis)
    assert estimated.runtime == pytest.approx(before, rel=0.15)
    assert 0.8 < peak / estimated.total < 1.25


def _estimated_and_measured(
    model: dict[str, Any], section: dict[str, Any], training: dict[str, Any], folder: Path, synthesis: Path
) -> tuple[MemoryEstimate, int, int]:
    """The plan's estimate, and the resident bytes of a process before it loads the model and at its peak.

    Packed rows are never quite full, and how full is chance with so few examples: the estimate is for rows of as
    many tokens as those of the fullest step had.
    """
    steps = {"learning_rate": 1e-3, "max_steps": 2, "logging_steps": 1, "save_strategy": "no"}
    values = {
        "name": "tiny",
        "seed": 5,
        "model": model,
        # So many examples that a step has all four rows of a micro-batch.
        "sft": {
            "batch": 18,
            "micro_batch": 4,
            "max_length": 512,
            **section,
            "training": {**steps, "activation_checkpointing": False, **training},
        },
    }
    recipe = Recipe.model_validate(values)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("peak_memory.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(values), str(folder), str(synthesis)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = section.get("micro_batch", 4)
    assert f"1 x {rows} rows on 1 process(es)" in done.stderr
    before, peak = map(int, done.stdout.splitlines()[-1].split())
    initial = model_shape(recipe.model)
    assert initial is not None and recipe.sft is not None
    settings = recipe.sft
    if settings.packing:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        seen = [0, *(json.loads(line)["num_tokens"] for line in lines)]
        fullest = max(later - earlier for earlier, later in pairwise(seen))
        assert 0.9 < fullest / (rows * settings.max_length) <= 1
        settings = settings.model_copy(update={"max_length": round(fullest / rows)})
    estimated = estimate_sft(initial, settings, on_gpu=False)
    print(f"{estimated.total / 2**20:.0f} MiB estimated, {peak / 2**20:.0f} MiB measured, {before / 2**20:.0f} before")
    return estimated, before, peak
