"""The plan's estimate of memory against the peak of a process that trains."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xcoder_train.memory import estimate_sft
from xcoder_train.model_shape import model_shape
from xcoder_train.recipe import Recipe

SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "layers": 8, "heads": 8, "kv_heads": 4, "vocabulary": 960}
PROJECT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "section", "training"),
    [
        ({}, {}, {}),
        ({}, {}, {"activation_checkpointing": True}),
        ({}, {}, {"bf16": True}),
        ({}, {"lora": {"rank": 16, "alpha": 16}}, {}),
        ({"hidden_size": 768, "layers": 3, "intermediate_size": 2048}, {}, {}),
    ],
    ids=["full", "checkpointed", "bf16", "lora", "wide"],
)
def test_the_estimate_is_within_15_percent_of_the_measured_peak(
    synthesis: Path, tmp_path: Path, shape: dict[str, Any], section: dict[str, Any], training: dict[str, Any]
) -> None:
    steps = {"learning_rate": 1e-3, "max_steps": 2, "save_strategy": "no", "activation_checkpointing": False}
    values = {
        "name": "tiny",
        "seed": 5,
        "model": {"init": {**SHAPE, "context": 512, **shape}},
        # So many examples that a step has all four rows of a micro-batch, and packing fills each.
        "sft": {"batch": 18, "micro_batch": 4, "max_length": 512, **section, "training": {**steps, **training}},
    }
    recipe = Recipe.model_validate(values)
    # Large tensors go back to the system at once, so that resident memory is what is alive.
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    script = Path(__file__).with_name("peak_memory.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(values), str(tmp_path), str(synthesis)],
        env={**environment, "MALLOC_TRIM_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 x 4 rows on 1 process(es)" in done.stderr
    measured = int(done.stdout.splitlines()[-1])
    initial = model_shape(recipe.model)
    assert initial is not None and recipe.sft is not None
    estimated = estimate_sft(initial, recipe.sft, on_gpu=False).total
    print(f"{estimated / 2**20:.0f} MiB estimated, {measured / 2**20:.0f} MiB measured")
    assert estimated == pytest.approx(measured, rel=0.15)
