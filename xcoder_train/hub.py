"""`xcoder push-model`: a finished model with its card, to the Hugging Face hub. No stage uploads by itself."""

import tempfile
from pathlib import Path

from xcoder_train.core.errors import InputError
from xcoder_train.core.files import write_text
from xcoder_train.core.hub import asking_hub
from xcoder_train.model_card import CARD, model_card
from xcoder_train.recipe import Recipe, StageName
from xcoder_train.results import is_whole, read_result, stage_folder
from xcoder_train.run_folder import read_summary


def push_model(recipe: Recipe, stage: StageName, repository: str, *, public: bool) -> str:
    """Upload the stage's `model/` in one commit and return its address. The card tells what was measured by now.

    Raises InputError where there is no finished model, EnvironmentLacks where the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if not recipe.has(stage):
        raise InputError(
            f"the recipe has no `{stage}:` section, so no model of its own to push. What `inputs` names is pushed with "
            "the recipe that made it, which lies in that run's folder"
        )
    folder = stage_folder(recipe, stage)
    if not is_whole(recipe, stage):
        raise InputError(f"{folder} holds no finished {stage} to push. Run it first: xcoder {stage} RECIPE")
    card = model_card(recipe, stage, read_result(folder), read_summary(recipe.run_folder))
    api = HfApi()
    mend = "Check the network and the token (`hf auth login`, or HF_TOKEN)"
    try:
        with asking_hub(f"cannot push to {repository}", mend), tempfile.TemporaryDirectory() as temporary:
            api.create_repo(repository, private=not public, exist_ok=True)
            tree = Path(temporary)
            for file in (folder / "model").iterdir():
                (tree / file.name).symlink_to(file.resolve())
            (tree / CARD).unlink(missing_ok=True)
            write_text(tree / CARD, card)
            done = api.upload_folder(
                repo_id=repository, folder_path=tree, commit_message=f"{recipe.name}: {stage} {folder.name}"
            )
    except HFValidationError as error:
        raise InputError(
            f"{repository!r} names no repository of a hub, as owner/name does: {error}. For a copy in a folder there "
            f"is nothing to push: {folder / 'model'} is the whole model, weights, tokenizer and card"
        ) from error
    return str(done)
