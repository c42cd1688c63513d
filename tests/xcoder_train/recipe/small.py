"""A small sound recipe, and what the reader says of a wrong one."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from xcoder_core.errors import InputError
from xcoder_train.recipe.reading import load_recipe

GOOD = """\
name: tiny
model: {init: {context: 512}}
synth:
  splits:
    solved: {use: sft, tasks: 10}
    unsolved: {use: rl, tasks: 10}
    held: {use: evaluation, tasks: 10}
sft: {batch: 8, max_length: 512, training: {learning_rate: 5e-4, num_train_epochs: 2}}
grpo:
  {prompts_per_step: 4, rollouts: 4, max_prompt_length: 200, max_completion_length: 200, micro_batch: 16}
evaluation: {samples: 2, k: [1, 2], sampling: {max_new_tokens: 200}}
"""


def refusal(path: Path, overrides: Sequence[str] = ()) -> str:
    with pytest.raises(InputError) as error:
        load_recipe(path, overrides)
    return str(error.value)
