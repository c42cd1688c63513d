"""`xcoder push-data RECIPE`: the datasets of the recipe's finished synthesis go to the hub that it names."""

from collections.abc import Sequence
from pathlib import Path

from synth.push import push_datasets
from xcoder_train.core.errors import InputError
from xcoder_train.core.layout import SynthLayout
from xcoder_train.recipe import load_recipe
from xcoder_train.results import is_whole, stage_folder


def push_recipe(recipe_path: Path, overrides: Sequence[str]) -> dict[str, str]:
    """The URL of the commit of each dataset, by use. Raises InputError where the synthesis is not finished."""
    recipe = load_recipe(recipe_path, overrides)
    if recipe.synth is None or recipe.synth.push_to is None:
        raise InputError(
            f"{recipe_path} does not say where to push; expected synth.push_to.repository=OWNER/NAME in it or on the "
            "command line"
        )
    folder = stage_folder(recipe, "synth")
    if not is_whole(recipe, "synth"):
        raise InputError(f"{folder} holds no finished synthesis of this recipe; run it first: xcoder synth RECIPE")
    return push_datasets(recipe.synth.push_to, SynthLayout(folder))
