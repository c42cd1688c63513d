"""A small ablation recipe, and results of one as they are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPE = """\
name: tiny
seed: 1
model:
  init: {hidden_size: 32, intermediate_size: 48, layers: 2, heads: 4, kv_heads: 2, vocabulary: 400, context: 512}
synth:
  candidates_per_task: 6
  inputs_per_task: 5
  teacher: {features: [list operation/map]}
  verification: {minimum_tests: 2}
  splits:
    solved: {use: sft, tasks: 24, depth: [1, 2]}
    held: {use: evaluation, tasks: 6, depth: [1]}
sft:
  batch: 4
  micro_batch: 4
  max_length: 512
  packing: false
  training: {learning_rate: 1.0e-2, num_train_epochs: 2, logging_steps: 1, adam_beta2: 0.98}
evaluation:
  models: [sft]
  samples: 2
  k: [1]
  sampling: {max_new_tokens: 40}
ablation:
  question: Do more tasks or more solutions of each help more?
  axes:
    tasks × solutions:
      8x1: {sft.data.tasks: 8, sft.data.solutions_per_task: 1}
      4x2: {sft.data.tasks: 4, sft.data.solutions_per_task: 2}
  equal: epochs
  paper: {source: A paper, window: Its window, percent: {8x1: 47.0}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes the recipe with some of its text replaced."""

    def write(**replaced: str) -> Path:
        text = RECIPE
        for old, new in replaced.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def stored() -> dict[str, Any]:
    """What results.json holds of two arms, one of them not run."""
    training = {"examples": 64, "steps": 32, "trained_tokens": 12000, "epochs": 2.0, "training_seconds": 9.5}
    score = {"problems": 12, "left_out": 0}
    return {
        "name": "tiny",
        "question": "Which helps more?",
        "axes": {"tasks × solutions": ["8x1", "4x2"]},
        "equal": "epochs",
        "pool": "the tasks with at least 2 accepted solutions",
        "metric": {"model": "sft", "benchmark": "heldout", "k": 1},
        "window": "12 held-out problems",
        "samples_per_problem": 2,
        "sampling": {"temperature": 0.6},
        "seeds": [0, 1],
        "paper": {"source": "A paper", "window": "LiveCodeBench v5", "percent": {"8x1": 47.0}},
        "arms": [
            {
                "name": "8x1",
                "labels": ["8x1"],
                "runs": [
                    {"seed": 0, "key": "a", **training, "mean": 0.25, "ci95": [0.1, 0.4], **score},
                    {"seed": 1, "key": "b", **training, "mean": 0.35, "ci95": [0.2, 0.5], **score},
                ],
                "mean": 0.3,
                "ci95": [0.2, 0.4],
                **score,
                "difference": None,
            },
            {
                "name": "4x2",
                "labels": ["4x2"],
                "runs": [],
                "mean": None,
                "ci95": None,
                "problems": 0,
                "difference": None,
            },
        ],
        "missing": ["4x2-seed0", "4x2-seed1"],
    }
