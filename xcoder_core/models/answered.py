"""Answers that are kept: a request that was answered once is never sent again, whatever kills the process.

Evaluation keeps its samples in a table of its own, with the same promise: its rows are what later parts read.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from xcoder_core.errors import InputError
from xcoder_core.keys import Keys
from xcoder_core.models.request import Completion, Generator, Request, Unanswered, asked_once
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.records import RecordStore, read_records


@dataclass(frozen=True, slots=True)
class Answer:
    """A kept completion. `asked` is a hash of the messages, the seed and the sampling settings."""

    request_id: str
    asked: str
    purpose: str
    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class Answers:
    """The table of answers at `path`: open it, `ask` as often as needed, and `seal` it once nothing more is asked."""

    def __init__(self, path: Path) -> None:
        self._store = RecordStore(path, Answer, ("request_id", "asked"))
        self._ids = Keys()
        for answer in self.kept():
            self._ids.add((answer.request_id,))
            if self._store.is_sealed:  # such a store holds no keys of its own
                self._store.keys.add((answer.request_id, answer.asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def ask(
        self, generator: Generator, requests: Iterable[Request], sampling: SamplingSettings
    ) -> Iterator[Completion | Unanswered]:
        """Yield one answer per request: new ones as they come, each kept before it is yielded, then those kept before.

        Kept ones come without `token_ids`. What is unanswered is not kept, so the next call asks it again.
        Raises `InputError` where a kept answer was given to another prompt, seed or sampling under the same id.
        """
        kept: set[str] = set()

        def missing() -> Iterator[Request]:
            for request in requests:
                if request.id in kept:
                    raise InputError(f"two requests have the id {request.id!r}")
                is_known = (request.id,) in self._ids
                if not is_known and self._store.is_sealed:
                    raise RuntimeError(f"{self._store.path} is sealed; nothing new can be asked: {request.id!r}")
                if not is_known:
                    yield request
                elif (request.id, _fingerprint(request, sampling)) in self._store.keys:
                    kept.add(request.id)
                else:
                    raise InputError(
                        f"{self._store.path} holds an answer to {request.id!r} that was given to another prompt, seed "
                        "or sampling; begin in another folder, or delete that file to ask everything again"
                    )

        for request, answer in asked_once(generator, missing(), sampling):
            if isinstance(answer, Completion):
                counts = answer.prompt_tokens, answer.completion_tokens
                asked = _fingerprint(request, sampling)
                self._store.append(
                    Answer(request.id, asked, request.purpose, answer.text, answer.finish_reason, *counts)
                )
                self._ids.add((request.id,))
            yield answer
        for old in self.kept() if kept else ():
            if old.request_id in kept:
                counts = old.prompt_tokens, old.completion_tokens
                yield Completion(old.request_id, old.text, (), old.finish_reason, *counts)

    def kept(self) -> Iterator[Answer]:
        """Every answer of the table, one at a time."""
        return read_records(self._store.path, Answer) if self._store.is_sealed else self._store.pending()

    def seal(self) -> Path:
        """Write the sorted Parquet table; nothing new can be asked after it."""
        return self._store.seal()


def _fingerprint(request: Request, sampling: SamplingSettings) -> str:
    asked = [request.messages, request.seed, sampling.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
