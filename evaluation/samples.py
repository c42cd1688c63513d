"""Completions of a model on problems: asked once each, kept one by one, so that a killed run goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from xcoder_train.core.errors import InfrastructureError
from xcoder_train.core.generation.config import SamplingSettings
from xcoder_train.core.generation.request import Completion, Request
from xcoder_train.core.problem import Problem
from xcoder_train.core.progress import Progress
from xcoder_train.core.prompt import PromptStyle, render_prompt
from xcoder_train.core.records import RecordStore
from xcoder_train.core.seeds import derive_seed

KEY = ("problem_id", "sample_index")


class Generator(Protocol):
    """Whatever turns requests into completions; they may come in any order."""

    def generate(self, requests: Sequence[Request], sampling: SamplingSettings) -> Iterator[Completion]:
        """Yield exactly one completion per request."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion. `seed` decided its random choices; `completion_tokens` counts the stop token."""

    problem_id: str
    sample_index: int
    seed: int
    completion: str
    finish_reason: Literal["stop", "length"]
    completion_tokens: int


def sample_completions(
    problems: Sequence[Problem],
    samples: int,
    sampling: SamplingSettings,
    generator: Generator,
    path: Path,
    seed: int,
    prompt_style: PromptStyle,
) -> None:
    """Leave `samples` completions of every problem in the table at `path`; what is there already is not asked again.

    A sample's seed depends on the run's seed, the problem and the sample's index, not on the model: models that are
    compared meet the same noise. Raises `InfrastructureError` when the generator leaves requests unanswered.
    """
    store = RecordStore(path, Sample, KEY)
    if store.is_sealed:
        return
    asked: dict[str, tuple[str, int, int]] = {}
    requests: list[Request] = []
    for problem in problems:
        messages = render_prompt(problem, prompt_style)
        for index in range(samples):
            if (problem.problem_id, index) not in store.keys:
                request_id = f"{problem.problem_id}/{index}"
                sample_seed = derive_seed(seed, "evaluation", problem.problem_id, index)
                asked[request_id] = (problem.problem_id, index, sample_seed)
                requests.append(Request(request_id, messages, sample_seed))
    total = len(problems) * samples
    with Progress("sampling", total, "completions", done=total - len(requests)) as progress:
        for completion in generator.generate(requests, sampling) if requests else ():
            if completion.request_id not in asked:
                raise InfrastructureError(
                    f"the generator answered request {completion.request_id!r}, which was not asked or was answered "
                    "before; the other completions are kept"
                )
            problem_id, index, sample_seed = asked.pop(completion.request_id)
            tokens = len(completion.token_ids)
            store.append(Sample(problem_id, index, sample_seed, completion.text, completion.finish_reason, tokens))
            progress.advance()
    if asked:
        store.close()
        raise InfrastructureError(
            f"the generator left {len(asked)} of {len(requests)} requests unanswered; run again to ask only for those"
        )
    store.seal()
