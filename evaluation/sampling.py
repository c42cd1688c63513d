"""Sampling by several processes: each its share of the problems, the first one puts the tables together."""

import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from evaluation.few_shot import EvaluationPrompt, FewShotExamples
from evaluation.samples import KEY, Sample, sample_completions
from xcoder_train.core.generation.config import SamplingSettings
from xcoder_train.core.generation.request import Generator
from xcoder_train.core.problem import Problem
from xcoder_train.core.records import read_records, write_records
from xcoder_train.core.share import Share


def sample_together(
    problems: Sequence[Problem],
    samples: int,
    sampling: SamplingSettings,
    generator: Generator,
    path: Path,
    seed: int,
    prompt_style: EvaluationPrompt,
    maximum_invalid_share: float,
    share: Share,
    examples: FewShotExamples | None = None,
) -> None:
    """Do this process's share of the table that `sample_completions` leaves at `path`. All must name the same problems.

    The first process returns when the table is whole, and waits for the others without end: a launcher ends all of
    them when one fails. What another number of processes had sampled before a kill is sampled again.
    """
    if path.exists():
        return
    own = path if share.of == 1 else share.file(path)
    mine = share.items(problems)
    sample_completions(mine, samples, sampling, generator, own, seed, prompt_style, maximum_invalid_share, examples)
    if share.of == 1 or share.index > 0:
        return
    parts = [Share(index, share.of).file(path) for index in range(share.of)]
    while not all(part.exists() for part in parts):
        time.sleep(0.1)
    write_records(path, Sample, chain.from_iterable(read_records(part, Sample) for part in parts), KEY)
    for part in path.parent.glob(f"{path.stem}-*-of-*"):
        part.unlink()
