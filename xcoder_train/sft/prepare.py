"""What SFT does once before it trains, in one process: choose the rows, make the model, write the token ids."""

from pathlib import Path

from xcoder_core.files import atomic_folder
from xcoder_core.layout import SynthLayout
from xcoder_core.models.initial import initialise_model
from xcoder_core.models.loading import load_tokenizer
from xcoder_core.models.settings import ModelSettings
from xcoder_core.models.trained import save_model
from xcoder_core.settings import require
from xcoder_core.stage import StageContext
from xcoder_train.sft.data import corpus, read_pool, read_rows, select_rows, tokenize
from xcoder_train.sft.settings import SftSettings


def prepare(settings: SftSettings, model: ModelSettings, context: StageContext, folder: Path) -> None:
    """Choose the rows, make a model that the recipe initialises, and write the token ids. Work of one process."""
    layout = SynthLayout(context.inputs["synth"])
    rows = select_rows(read_pool(layout, settings.data, model.prompt), settings.data, context.seed)
    start = starting_point(model, context)
    if model.init is not None and not Path(start).exists():
        # Every accepted solution shapes the tokenizer, so that runs on different choices of them start from one model.
        texts = corpus(read_rows(layout, verified=True, prompt_style=model.prompt))
        save_model(*initialise_model(model.init, texts, context.seed), Path(start))
    tokenizer = load_tokenizer(start, model.trust_remote_code, model.chat_template)
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


def starting_point(model: ModelSettings, context: StageContext) -> Path | str:
    """The path of the model that training starts from; a model from the recipe is made once and kept in `base/`."""
    return context.folder / "base" if model.init is not None else require(model.path)
