"""Trains SFT in this process and prints its resident memory in bytes: RECIPE_JSON FOLDER SYNTH.

The first number is that before the model is loaded, when everything is imported and the data are prepared; the second
the peak of training.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.stage import perform
from xcoder_train.sft import train as sft

torch.set_num_threads(1)
measured: dict[str, int] = {}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


_load, _save = sft.load_training_model, sft.save_trained


def _before(*given: Any, **named: Any) -> Any:
    measured["before"] = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    return _load(*given, **named)


def _after(*given: Any, **named: Any) -> Any:
    measured["peak"] = _status("VmHWM")
    return _save(*given, **named)


sft.load_training_model, sft.save_trained = _before, _after  # type: ignore[assignment]
recipe = Recipe.model_validate(json.loads(sys.argv[1]))
folder = Path(sys.argv[2])
perform(recipe, StageContext("tiny", "sft", "stagekey", folder, recipe.seed, {"synth": Path(sys.argv[3])}))
print(measured["before"], measured["peak"])
