"""What a language model answered about features, kept as tables: one record for each question, with what it gave or why
it gave nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synth.execution import FAILED_SHARE
from synth.language_model.dialogue import Dialogue, Interview, Unusable
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.request import Unanswered
from xcoder_core.progress import Progress
from xcoder_core.records import RecordStore, read_records

Paths = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeatureAnswer:
    """The answer to one question: paths of features, or (`reason` is not None) why there are none.

    `answer` is the whole text of an answer that could not be used, and empty otherwise.
    """

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

    A `FeatureAnswer` among the dialogues is kept as it is. Raises `InfrastructureError` where more than 1 % of all
    questions stay unanswered; fewer are kept with that reason.
    """
    store = RecordStore(path, FeatureAnswer, ("key",))
    if not store.is_sealed:
        unanswered: list[FeatureAnswer] = []
        with Progress(title, total, "questions", done=len(store.keys)) as progress:
            for ended in interview.hold(_new(dialogues, store, progress)):
                progress.advance(1)
                if isinstance(ended.outcome, Unanswered):
                    unanswered.append(FeatureAnswer(ended.key, (), f"unanswered: {ended.outcome.reason}"))
                elif isinstance(ended.outcome, Unusable):
                    store.append(FeatureAnswer(ended.key, (), ended.outcome.reason, ended.outcome.answer))
                else:
                    store.append(FeatureAnswer(ended.key, ended.outcome, None))
        if len(unanswered) > FAILED_SHARE * (len(store.keys) + len(unanswered)):
            store.close()
            raise InfrastructureError(
                f"{title}: {len(unanswered)} questions stayed without an answer, the first {unanswered[0].reason}; "
                f"at most {FAILED_SHARE:.0%} may. What was answered is kept: look at the server, then run the same "
                "command again."
            )
        store.extend(unanswered)
        store.seal()
    yield from read_records(path, FeatureAnswer)


def _new(
    dialogues: Iterable[tuple[str, Dialogue[Paths] | FeatureAnswer]],
    store: RecordStore[FeatureAnswer],
    progress: Progress,
) -> Iterator[tuple[str, Dialogue[Paths]]]:
    for key, dialogue in dialogues:
        if (key,) in store.keys:
            continue
        if isinstance(dialogue, FeatureAnswer):
            store.append(dialogue)
            progress.advance(1)
        else:
            yield key, dialogue
