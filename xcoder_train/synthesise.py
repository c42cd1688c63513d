"""The synthesis stage of a run: `python -m xcoder_train.synthesise RECIPE` or `xcoder synth RECIPE`."""

import sys

from synth.pipeline import synthesise
from xcoder_train.core.stage import StageContext
from xcoder_train.recipe import Recipe, present
from xcoder_train.run import run_stage
from xcoder_train.wandb_run import track_synthesis


def work(recipe: Recipe, context: StageContext) -> None:
    """Make and verify every split of the recipe."""
    synthesise(present(recipe.synth), recipe.judge, recipe.model.prompt, context)
    track_synthesis(recipe.tracking, context, recipe.model_dump(mode="json"))


def main(arguments: list[str] | None = None) -> int:
    """Command line of this stage."""
    return run_stage("synth", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
