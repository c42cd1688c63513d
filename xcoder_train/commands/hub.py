"""To a hub: `xcoder push-model`, a finished model with its card, and `xcoder push-data`. No stage uploads by itself."""

from pathlib import Path
from typing import Annotated

import typer

from synth.push import push_datasets
from xcoder_core.errors import InputError
from xcoder_core.files import write_text
from xcoder_core.hub import Repository, upload
from xcoder_core.stage import SynthLayout, read_result
from xcoder_train.commands.options import Overrides, RecipePath
from xcoder_train.recipe.reading import load_recipe
from xcoder_train.recipe.schema import Recipe
from xcoder_train.runs.folder import read_summary
from xcoder_train.runs.keys import is_whole, stage_folder
from xcoder_train.runs.model_card import CARD, model_card
from xcoder_train.stages import TRAINING, StageName

app = typer.Typer(rich_markup_mode=None)

_TRAINED = [stage.name for stage in TRAINING.values()]


@app.command("push-data")
def push_data_of(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Publish the finished datasets on a hub (synth.push_to)."""
    loaded = load_recipe(recipe, overrides or [])
    if loaded.synth is None or loaded.synth.push_to is None:
        raise InputError(
            f"{recipe} does not say where to push; expected synth.push_to.repository=OWNER/NAME in it or on the "
            "command line"
        )
    folder = stage_folder(loaded, "synth")
    if not is_whole(loaded, "synth"):
        raise InputError(f"{folder} holds no finished synthesis of this recipe; run it first: xcoder synth RECIPE")
    for use, url in push_datasets(loaded.synth.push_to, SynthLayout(folder)).items():
        print(f"{use}: {url}")


@app.command("push-model")
def push_model_of(
    recipe: RecipePath,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub.", show_default=False)],
    overrides: Overrides = None,
    stage: Annotated[
        str | None, typer.Option(metavar="|".join(_TRAINED), help="Stage of the model; the last one when left out.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
) -> None:
    """Upload a trained model and its card to the hub."""
    if stage not in (None, *_TRAINED):
        raise InputError(f"--stage {stage}: expected {' or '.join(_TRAINED)}")
    loaded = load_recipe(recipe, overrides or [])
    chosen = [name for name in _TRAINED if name == stage or (stage is None and loaded.has(name))] or _TRAINED[:1]
    print(push_model(loaded, chosen[-1], repository, public=public))


def push_model(recipe: Recipe, stage: StageName, repository: str, *, public: bool) -> str:
    """Upload the stage's `model/` in one commit and return its address. The card shows what was measured so far.

    Raises InputError where there is no finished model, EnvironmentLacks where the hub refuses or cannot be reached.
    """
    from huggingface_hub.errors import HFValidationError

    if not recipe.has(stage):
        raise InputError(
            f"the recipe has no `{stage}:` section, so no model of its own to push. What `inputs` names is pushed with "
            "the recipe that made it, which is in that run's folder"
        )
    folder = stage_folder(recipe, stage)
    if not is_whole(recipe, stage):
        raise InputError(f"{folder} holds no finished {stage} to push. Run it first: xcoder {stage} RECIPE")
    card = model_card(recipe, stage, read_result(folder), read_summary(recipe.run_folder))
    mend = "Check the network and the token (`hf auth login`, or HF_TOKEN)"

    def gather(tree: Path) -> None:
        for file in (folder / "model").iterdir():
            if file.name != CARD:
                (tree / file.name).symlink_to(file.resolve())
        write_text(tree / CARD, card)

    try:
        target = Repository(repository, private=not public)
        done = upload(target, gather, f"{recipe.name}: {stage} {folder.name}", mend)
    except HFValidationError as error:
        raise InputError(
            f"{repository!r} names no repository of a hub, as owner/name does: {error}. For a copy in a folder there "
            f"is nothing to push: {folder / 'model'} is the complete model: weights, tokenizer and card"
        ) from error
    return str(done)
