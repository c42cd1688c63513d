"""Completions of a model on problems: asked once each, kept one by one, so that a killed run goes on.

Several processes each sample their share of the problems, and the first one puts the tables together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from evaluation.few_shot import EvaluationPrompt, FewShotExamples, evaluation_prompt
from xcoder_train.core.errors import InfrastructureError
from xcoder_train.core.generation.config import SamplingSettings
from xcoder_train.core.generation.request import Completion, Generator, Request, Unanswered
from xcoder_train.core.problem import Problem
from xcoder_train.core.progress import Progress
from xcoder_train.core.records import RecordStore, read_records, write_records
from xcoder_train.core.seeds import derive_seed
from xcoder_train.core.share import Share, await_files

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


def sample_completions(
    problems: Sequence[Problem],
    samples: int,
    sampling: SamplingSettings,
    generator: Generator,
    path: Path,
    seed: int,
    prompt_style: EvaluationPrompt,
    maximum_invalid_share: float,
    examples: FewShotExamples | None = None,
) -> None:
    """Leave `samples` completions of every problem in the table at `path`; what is there already is not asked again.

    A sample's seed depends on the run's seed, the problem and the sample's index, not on the model: models that are
    compared meet the same noise. Raises `InfrastructureError` as soon as more than `maximum_invalid_share` of all
    samples are unanswered; these are asked again by the next run, the others are kept.
    """
    store = RecordStore(path, Sample, KEY)
    if store.is_sealed:
        return
    asked: dict[str, tuple[str, int, int]] = {}
    requests: list[Request] = []
    for problem in problems:
        messages, stop = evaluation_prompt(problem, prompt_style, examples)
        for index in range(samples):
            if (problem.problem_id, index) not in store.keys:
                request_id = f"{problem.problem_id}/{index}"
                sample_seed = derive_seed(seed, "evaluation", problem.problem_id, index)
                asked[request_id] = (problem.problem_id, index, sample_seed)
                requests.append(Request(request_id, messages, sample_seed, stop=stop))
    total = len(problems) * samples
    unanswered: list[Sample] = []
    with Progress("sampling", total, "completions", done=total - len(requests)) as progress:
        for answer in generator.generate(requests, sampling) if requests else ():
            if answer.request_id not in asked:
                raise InfrastructureError(
                    f"the generator answered request {answer.request_id!r}, which was not asked or was answered "
                    "before; the other completions are kept"
                )
            sample = _sample(*asked.pop(answer.request_id), answer)
            if isinstance(answer, Unanswered):
                unanswered.append(sample)
                _refuse_too_many(len(unanswered), total, maximum_invalid_share, answer.reason)
            else:
                store.append(sample)
            progress.advance()
    if asked:
        store.close()
        raise InfrastructureError(
            f"the generator left {len(asked)} of {len(requests)} requests unanswered; run again to ask only for those"
        )
    store.extend(unanswered)
    store.seal()


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

    The first process returns when the table is whole. What another number of processes had sampled before a kill is
    sampled again.
    """
    if path.exists():
        return
    own = path if share.of == 1 else share.file(path)
    mine = share.items(problems)
    sample_completions(mine, samples, sampling, generator, own, seed, prompt_style, maximum_invalid_share, examples)
    if share.of == 1 or share.index > 0:
        return
    parts = [Share(index, share.of).file(path) for index in range(share.of)]
    await_files(parts)
    write_records(path, Sample, chain.from_iterable(read_records(part, Sample) for part in parts), KEY)
    for part in path.parent.glob(f"{path.stem}-*-of-*"):
        part.unlink()


def _sample(problem_id: str, index: int, seed: int, answer: Completion | Unanswered) -> Sample:
    if isinstance(answer, Unanswered):
        return Sample(problem_id, index, seed, "", "unanswered", 0, 0, answer.reason)
    tokens = answer.prompt_tokens, answer.completion_tokens
    return Sample(problem_id, index, seed, answer.text, answer.finish_reason, *tokens, None)


def _refuse_too_many(unanswered: int, total: int, maximum_share: float, reason: str) -> None:
    if unanswered > maximum_share * total:
        raise InfrastructureError(
            f"{unanswered} of {total} requests could not be answered, more than evaluation.maximum_invalid_share = "
            f"{maximum_share:g} allows; the last reason: {reason}. No score is given. Mend the cause and run again: "
            "only what has no answer is asked."
        )
