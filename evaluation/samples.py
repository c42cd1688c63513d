"""Completions of a model on problems: asked once each, kept one by one, so that a killed run goes on.

Several processes each sample their share of the problems, and the first one puts the tables together.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from evaluation.measurement import Measurement
from evaluation.prompting import evaluation_prompt, load_examples
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.request import Generator, Request, Unanswered, asked_once
from xcoder_core.problem import Problem
from xcoder_core.records import RecordStore, read_records, write_records
from xcoder_core.seeds import derive_seed
from xcoder_core.share import WHOLE, Share, await_files
from xcoder_core.terminal import Progress

KEY = ("problem_id", "sample_index")


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion. `seed` decided its random choices; `completion_tokens` counts the stop token.

    An "unanswered" one is empty, with the reason in `unanswered_because`: it says nothing about the model.
    """

    problem_id: str
    sample_index: int
    seed: int
    completion: str
    finish_reason: Literal["stop", "length", "unanswered"]
    prompt_tokens: int
    completion_tokens: int
    unanswered_because: str | None


def sample_together(measurement: Measurement, generator: Generator, share: Share = WHOLE) -> None:
    """Leave `settings.samples` completions of every problem in the table of samples; none is asked for twice.

    Each of several processes, which must name the same problems, completes its share. The first one returns when the
    table is complete. What another number of processes had sampled before a kill is sampled again.
    A sample's seed depends on the run's seed, the problem and the sample's index, not on the model: models that are
    compared meet the same noise. Raises `InfrastructureError` as soon as more than `maximum_invalid_share` of a share
    are unanswered; these are asked again by the next run, the others are kept.
    """
    path = measurement.layout.samples
    if path.exists():
        return
    mine = share.items(list(measurement.problems.values()))
    with measurement.timed("sampling") if share.index == 0 else nullcontext():
        _complete(measurement, mine, generator, path if share.of == 1 else share.file(path))
        if share.of == 1 or share.index > 0:
            return
        parts = [Share(index, share.of).file(path) for index in range(share.of)]
        await_files(parts)
        write_records(path, Sample, chain.from_iterable(read_records(part, Sample) for part in parts), KEY)
    for part in path.parent.glob(f"{path.stem}-*-of-*"):
        part.unlink()


def _complete(measurement: Measurement, problems: Sequence[Problem], generator: Generator, path: Path) -> None:
    store = RecordStore(path, Sample, KEY)
    if store.is_sealed:
        return
    settings = measurement.settings
    examples = None if settings.few_shot_folder is None else load_examples(settings.few_shot_folder)

    def missing() -> Iterator[Request]:
        for problem in problems:
            messages, stop = evaluation_prompt(problem, measurement.prompt, examples)
            for index in range(settings.samples):
                if (problem.problem_id, index) not in store.keys:
                    seed = derive_seed(measurement.seed, measurement.purpose, problem.problem_id, index)
                    yield Request(f"{problem.problem_id}/{index}", messages, seed, stop=stop)

    total = len(problems) * settings.samples
    unanswered: list[Sample] = []
    with Progress("sampling", total, "completions", done=len(store.keys)) as progress:
        for request, answer in asked_once(generator, missing(), settings.sampling):
            problem_id, _, index = request.id.rpartition("/")
            identity = problem_id, int(index), request.seed
            if isinstance(answer, Unanswered):
                unanswered.append(Sample(*identity, "", "unanswered", 0, 0, answer.reason))
                if len(unanswered) > settings.maximum_invalid_share * total:
                    raise InfrastructureError(
                        f"{len(unanswered)} of {total} requests could not be answered, more than "
                        f"{measurement.bound} = {settings.maximum_invalid_share:g} allows; the last "
                        f"reason: {answer.reason}. No score is given. Mend the cause and run again: only what has no "
                        "answer is asked."
                    )
            else:
                tokens = answer.prompt_tokens, answer.completion_tokens
                store.append(Sample(*identity, answer.text, answer.finish_reason, *tokens, None))
            progress.advance()
    store.extend(unanswered)
    store.seal()
