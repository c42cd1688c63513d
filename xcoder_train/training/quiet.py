"""What the libraries below would print on their own: our progress and messages say it once."""

import logging
import os
import warnings

from xcoder_core.models.vllm_engine import prepare_vllm


def quiet_libraries() -> None:
    """Turn off the progress bars and notices of datasets, transformers and TRL that a user can do nothing about."""
    import datasets
    import transformers

    prepare_vllm()  # which TRL imports too
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    # TRL sets an argument that transformers has renamed; both are pinned, and the values agree.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # TRL calls a model by the name that an argument had before transformers 5.24; the old name works up to 5.40.
    warnings.filterwarnings("ignore", message="`past_key_values` is deprecated", category=FutureWarning)
    # Checkpoints made within a second are put in order by their step, which is what we want.
    _silence("transformers.trainer_utils", "mtime")
    # Between two starts of one stage only how often it is evaluated may change: all else would be another stage.
    _silence("transformers.trainer_utils", "eval_steps:")
    # A rollout that could not be judged: TRL prints all of it, and `judge/excluded` counts it.
    _silence("trl.trainer.grpo_trainer", "All reward functions returned None")
    # `rollout_func` is marked experimental; the pinned version has it, and tests hold it.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


def _silence(logger: str, words: str) -> None:
    """Drop a logger's messages that hold these words."""
    logging.getLogger(logger).addFilter(lambda record: words not in record.getMessage())
