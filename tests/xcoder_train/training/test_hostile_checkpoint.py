"""A checkpoint of somebody else's making: what of it could run code does not."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.stage import perform


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return open, (str(self.mark), "w")


def test_what_a_checkpoint_pickles_is_read_as_tensors_or_not_at_all(
    finished_grpo: Path, synthesis: Path, by_heart: Path, recipe_values: Callable[..., Any], tmp_path: Path
) -> None:
    mark = tmp_path / "it-ran"
    torch.save({"state": Hostile(mark)}, tmp_path / "control")
    torch.load(tmp_path / "control", weights_only=False)
    assert mark.exists()  # it would have
    mark.unlink()

    own = finished_grpo / "checkpoints" / "checkpoint-2"
    pickled = {file.name for file in own.iterdir() if file.suffix in (".pt", ".pth", ".bin")}
    assert pickled == {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    recipe = Recipe.model_validate(recipe_values("grpo"))
    inputs = {"synth": synthesis, "sft": by_heart}
    for name in sorted(pickled - {"training_args.bin"}):
        folder = tmp_path / name
        shutil.copytree(own, folder / "checkpoints" / "checkpoint-2")
        shutil.copy(tmp_path / "control", folder / "checkpoints" / "checkpoint-2" / name)
        # Nothing reads this one. Were it read as the others were not, the mark would be there.
        shutil.copy(tmp_path / "control", folder / "checkpoints" / "checkpoint-2" / "training_args.bin")
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            perform(recipe, StageContext("tiny", "grpo", "stagekey", folder, recipe.seed, inputs))
        assert not mark.exists(), name
