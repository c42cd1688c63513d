"""What SFT does once before it trains, in one process: choose the rows, make the model, write the token ids."""

from pathlib import Path

from xcoder_train.core.files import atomic_folder
from xcoder_train.core.generation.loading import load_tokenizer
from xcoder_train.core.layout import SynthLayout
from xcoder_train.core.stage import StageContext
from xcoder_train.model import initialise_model, save_model
from xcoder_train.recipe import Recipe, present
from xcoder_train.sft_data import corpus, read_pool, read_rows, select_rows, tokenize


def prepare(recipe: Recipe, context: StageContext, folder: Path) -> None:
    """Choose the rows, make a model that the recipe initialises, and write the token ids. Work of one process."""
    settings = present(recipe.sft)
    layout = SynthLayout(context.inputs["synth"])
    rows = select_rows(read_pool(layout, settings.data, recipe.model.prompt), settings.data, context.seed)
    start = starting_point(recipe, context)
    if recipe.model.init is not None and not Path(start).exists():
        # Every accepted solution shapes the tokenizer, so that runs on different choices of them start from one model.
        texts = corpus(read_rows(layout, verified=True, prompt_style=recipe.model.prompt))
        model, tokenizer = initialise_model(recipe.model.init, texts, context.seed)
        save_model(model, tokenizer, Path(start))
    tokenizer = load_tokenizer(start, recipe.model.trust_remote_code, recipe.model.chat_template)
    with atomic_folder(folder) as temporary:
        tokenize(
            rows,
            tokenizer,
            temporary,
            max_length=settings.max_length,
            truncation_limit=settings.truncation_limit,
            packing=settings.packing,
            seed=context.seed,
        )


def starting_point(recipe: Recipe, context: StageContext) -> Path | str:
    """The path of the model that training starts from; a model from the recipe is made once and kept in `base/`."""
    return present(recipe.model.path) if recipe.model.init is None else context.folder / "base"
