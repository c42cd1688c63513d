"""Dialogues with a language model: each asks one question after another, and thousands run at the same time.

A dialogue is a generator function: it yields a `Question`, receives what was read from the answer, and returns its
result. An unreadable answer is asked for once more with the error shown. If the second is unreadable too, the dialogue
gets the exception `Unusable`. Each answer is stored before it is used, so a dialogue goes on after its last answer.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from synth.execution import FAILED_SHARE
from synth.prompts import AnswerError, retry_messages
from xcoder_core.errors import InfrastructureError
from xcoder_core.models.answered import Answers
from xcoder_core.models.prompt import Message
from xcoder_core.models.request import Completion, Request, Unanswered
from xcoder_core.models.request import Generator as Model
from xcoder_core.models.settings import SamplingSettings
from xcoder_core.seeds import derive_seed

Result = TypeVar("Result")

ATTEMPTS = 2
"""How often a question is asked: once, and once more with the error shown."""

DIALOGUES_AT_ONCE = 8192
"""How many dialogues are begun before the last of them has to end; bounds memory, and keeps any server busy."""

Again = Callable[[list[Message], str, str], list[Message]]
"""From the messages, the answer and what is wrong with it to the messages that ask once more."""


@dataclass(frozen=True)
class Question:
    """One thing to ask. `read` turns a completion into what was asked for and raises `AnswerError` where it cannot."""

    name: str
    messages: list[Message]
    read: Callable[[Completion], object]
    again: Again = retry_messages


class Unusable(Exception):
    """Neither answer to a question could be read; `reason` is that of the second. Without a question: none came."""

    def __init__(self, question: str, reason: str, answer: str) -> None:
        super().__init__(f"{question}: {reason}" if question else reason)
        self.question, self.reason, self.answer = question, reason, answer


Dialogue = Generator[Question, Any, Result]
Ended = tuple[str, Result | Unusable | Unanswered]
"""The key of a dialogue that has come to its end, with its result, an answer that nobody could read, or unanswered."""


@dataclass(frozen=True)
class Interview:
    """Holds dialogues with one model; `seed` decides every sample. `purpose` is what usage is counted for."""

    model: Model
    answers: Answers
    sampling: SamplingSettings
    purpose: str
    seed: int

    def hold(self, dialogues: Iterable[tuple[str, Dialogue[Result]]]) -> Iterator[Ended[Result]]:
        """Yield each dialogue's end in the order in which they end. Keys must differ."""
        pending = iter(dialogues)
        while window := list(islice(pending, DIALOGUES_AT_ONCE)):
            yield from _Round(self, iter(window)).hold()

    def hold_nearly_all(
        self, dialogues: Iterable[tuple[str, Dialogue[Result]]], total: int | None = None
    ) -> Iterator[tuple[str, Result | Unusable]]:
        """As `hold`, but unanswered dialogues come last, as `Unusable`. Raises `InfrastructureError` where they are
        more than 1 % of `total`, which is the number of these dialogues where it is left out.
        """
        held = 0
        unanswered: list[tuple[str, Unusable]] = []
        reason = ""
        for key, outcome in self.hold(dialogues):
            held += 1
            if isinstance(outcome, Unanswered):
                reason = reason or outcome.reason
                unanswered.append((key, Unusable("", f"unanswered: {outcome.reason}", "")))
            else:
                yield key, outcome
        total = held if total is None else total
        if len(unanswered) > FAILED_SHARE * total:
            raise InfrastructureError(
                f"{len(unanswered)} of {total} questions of the stage `{self.purpose}` stayed without an answer, the "
                f"first with: {reason}. At most {FAILED_SHARE:.0%} may be lost. Look at the model's server, then run "
                "the same command again: only what is unanswered is asked again."
            )
        yield from unanswered


class _Round(Generic[Result]):
    def __init__(self, interview: Interview, pending: Iterator[tuple[str, Dialogue[Result]]]) -> None:
        self.interview = interview
        self.pending = pending
        self.open: dict[str, tuple[Dialogue[Result], Question, int]] = {}
        self.requests: deque[Request] = deque()
        self.ended: deque[Ended[Result]] = deque()

    def hold(self) -> Iterator[Ended[Result]]:
        """Ask until every dialogue has ended: what follows from an answer is asked as soon as the model is free."""
        interview = self.interview
        while True:
            for answer in interview.answers.ask(interview.model, self._requests(), interview.sampling):
                self._take(answer)
                yield from self._drain()
            yield from self._drain()
            if not self.requests:
                return

    def _drain(self) -> Iterator[Ended[Result]]:
        while self.ended:
            yield self.ended.popleft()

    def _requests(self) -> Iterator[Request]:
        while True:
            if self.requests:
                yield self.requests.popleft()
                continue
            new = next(self.pending, None)
            if new is None:
                return
            key, dialogue = new
            self._go_on(key, dialogue, partial(dialogue.send, None))

    def _take(self, answer: Completion | Unanswered) -> None:
        key = answer.request_id.rpartition("/")[0].rpartition("/")[0]
        dialogue, question, attempt = self.open.pop(key)
        if isinstance(answer, Unanswered):
            dialogue.close()
            self.ended.append((key, answer))
            return
        try:
            if answer.finish_reason == "length":
                raise AnswerError(
                    f"cut off: the answer had reached {answer.completion_tokens} tokens; answer more briefly"
                )
            value = question.read(answer)
        except AnswerError as error:
            if attempt + 1 < ATTEMPTS:
                messages = question.again(question.messages, answer.answer, str(error))
                self._ask(key, dialogue, question, attempt + 1, messages)
            else:
                unusable = Unusable(question.name, str(error), answer.text)
                self._go_on(key, dialogue, partial(dialogue.throw, unusable))
            return
        self._go_on(key, dialogue, partial(dialogue.send, value))

    def _go_on(self, key: str, dialogue: Dialogue[Result], step: Callable[[], Question]) -> None:
        try:
            question = step()
        except StopIteration as end:
            self.ended.append((key, end.value))
        except Unusable as unusable:
            self.ended.append((key, unusable))
        else:
            self._ask(key, dialogue, question, 0, question.messages)

    def _ask(
        self, key: str, dialogue: Dialogue[Result], question: Question, attempt: int, messages: list[Message]
    ) -> None:
        self.open[key] = dialogue, question, attempt
        seed = derive_seed(self.interview.seed, "teacher", key, question.name, attempt)
        self.requests.append(Request(f"{key}/{question.name}/{attempt}", messages, seed, self.interview.purpose))
