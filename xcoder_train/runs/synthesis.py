"""The synthesis stage of a run (`xcoder synth RECIPE`)."""

from synth.pipeline import synthesise
from xcoder_core.settings import require
from xcoder_core.stage import StageContext
from xcoder_train.recipe.schema import Recipe
from xcoder_train.training.wandb_run import track_synthesis


def work(recipe: Recipe, context: StageContext) -> None:
    """Make and verify every split of the recipe."""
    synthesise(require(recipe.synth), recipe.judge, recipe.model.prompt, context)
    track_synthesis(context)
