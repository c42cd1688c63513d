"""Answers of a language model about features, kept as tables: each has features, or the reason why there are none."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synth.language_model.dialogue import Dialogue, Interview, Unusable
from xcoder_core.models.request import Unanswered
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records

Paths = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeatureAnswer:
    """The answer to one question: paths of features, or the reason why there are none and the answer's whole text."""

    key: str
    features: Paths
    reason: str | None
    answer: str = ""


def hold_dialogues(
    interview: Interview,
    path: Path,
    dialogues: Iterable[tuple[str, Dialogue[Paths] | FeatureAnswer]],
    total: int,
    title: str,
) -> Iterator[FeatureAnswer]:
    """Ask what the table at `path` does not hold yet, seal it, and yield its records in the order of their keys.

    A `FeatureAnswer` among the dialogues is stored unchanged. Raises `InfrastructureError` where more than 1 % of all
    questions stay unanswered; fewer are stored with that reason.
    """
    store = RecordStore(path, FeatureAnswer, ("key",))
    if not store.is_sealed:
        with Progress(title, total, "questions", done=len(store.keys)) as progress:

            def new() -> Iterator[tuple[str, Dialogue[Paths]]]:
                for key, dialogue in dialogues:
                    if (key,) in store.keys:
                        continue
                    if isinstance(dialogue, FeatureAnswer):
                        store.append(dialogue)
                        progress.advance()
                    else:
                        yield key, dialogue

            for ended in interview.hold_nearly_all(new(), total):
                if isinstance(ended.outcome, Unanswered):
                    store.append(FeatureAnswer(ended.key, (), f"unanswered: {ended.outcome.reason}"))
                elif isinstance(ended.outcome, Unusable):
                    store.append(FeatureAnswer(ended.key, (), ended.outcome.reason, ended.outcome.answer))
                else:
                    store.append(FeatureAnswer(ended.key, ended.outcome, None))
                progress.advance()
        store.seal()
    yield from read_records(path, FeatureAnswer)
