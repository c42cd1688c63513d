"""Dialogues: what follows from an answer is asked at once, an unreadable answer once more, nothing twice."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from openai_server import Fault, OpenAIServer

from synth.language_model.dialogue import Dialogue, Interview, Question, Unusable
from synth.prompts import AnswerError
from xcoder_core.models.answered import Answers
from xcoder_core.models.openai_backend import OpenAIGenerator
from xcoder_core.models.request import Completion, Unanswered
from xcoder_core.models.settings import SamplingSettings, ServerSettings


def number(completion: Completion) -> int:
    try:
        return int(completion.text)
    except ValueError as error:
        raise AnswerError(f"`{completion.text}` is no number") from error


def ask(text: str) -> Question:
    return Question("number", [{"role": "user", "content": text}], number)


def doubling(start: str) -> Dialogue[int]:
    """Asks for a number, then for its double."""
    first = yield ask(start)
    second = yield Question("double", [{"role": "user", "content": f"double {first}"}], number)
    return first + second


def answer(messages: list[dict[str, str]], parameters: dict[str, object]) -> str:
    said = messages[-1]["content"]
    if said.startswith("double"):
        return str(2 * int(said.split()[1]))
    if "cannot be used" in said:
        return "nothing" if messages[0]["content"] == "stubborn" else "7"
    return said


def hold(server: OpenAIServer, path: Path, starts: Iterable[str], **server_settings: object) -> dict[str, object]:
    settings = ServerSettings(base_url=server.base_url, model="model", max_concurrency=4, **server_settings)  # type: ignore[arg-type]
    with OpenAIGenerator(settings, "model") as model, Answers(path) as answers:
        interview = Interview(model, answers, SamplingSettings(max_new_tokens=100), "test", 3)
        dialogues = ((f"key/{start}", doubling(start)) for start in starts)
        return dict(interview.hold(dialogues))


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(answer=answer) as serving:
        yield serving


def test_a_dialogue_goes_on_with_what_was_answered(server: OpenAIServer, tmp_path: Path) -> None:
    outcomes = hold(server, tmp_path / "answers.parquet", [str(n) for n in range(30)])
    assert outcomes == {f"key/{n}": 3 * n for n in range(30)}
    assert len(server.calls) == 60


def test_an_unreadable_answer_is_asked_once_more_with_its_error_and_then_ends_the_dialogue(
    server: OpenAIServer, tmp_path: Path
) -> None:
    outcomes = hold(server, tmp_path / "answers.parquet", ["four", "stubborn", "5"])
    assert outcomes["key/four"] == 7 + 14 and outcomes["key/5"] == 15
    unusable = outcomes["key/stubborn"]
    assert isinstance(unusable, Unusable)
    assert (unusable.question, unusable.reason, unusable.answer) == ("number", "`nothing` is no number", "nothing")
    retried = [call.body["messages"] for call in server.calls if len(call.body["messages"]) == 3]
    assert sorted(messages[0]["content"] for messages in retried) == ["four", "stubborn"]
    assert all("is no number" in messages[2]["content"] for messages in retried)


def test_a_dialogue_may_go_on_after_an_unusable_answer(server: OpenAIServer, tmp_path: Path) -> None:
    def forgiving() -> Dialogue[str]:
        try:
            yield ask("stubborn")
        except Unusable as error:
            return f"without it: {error.reason}"
        return "with it"

    settings = ServerSettings(base_url=server.base_url, model="model")
    with OpenAIGenerator(settings, "model") as model, Answers(tmp_path / "answers.parquet") as answers:
        interview = Interview(model, answers, SamplingSettings(), "test", 3)
        assert list(interview.hold([("a", forgiving())])) == [("a", "without it: `nothing` is no number")]


def test_what_was_answered_is_not_asked_again(server: OpenAIServer, tmp_path: Path) -> None:
    first = hold(server, tmp_path / "answers.parquet", ["1", "four", "stubborn"])
    asked = len(server.calls)
    again = hold(server, tmp_path / "answers.parquet", ["1", "four", "stubborn", "9"])
    assert len(server.calls) == asked + 2
    assert again["key/9"] == 27 and {key: again[key] for key in ("key/1", "key/four")} == {"key/1": 3, "key/four": 21}
    assert str(again["key/stubborn"]) == str(first["key/stubborn"])


def test_an_unanswered_question_says_nothing_of_the_model(tmp_path: Path) -> None:
    def refuse(call: object) -> Fault | None:
        return Fault(400, "too long") if call.asked == "2" else None  # type: ignore[attr-defined]

    with OpenAIServer(answer=answer, fault_of=refuse) as serving:
        outcomes = hold(serving, tmp_path / "answers.parquet", ["1", "2"])
    assert outcomes["key/1"] == 3
    assert isinstance(outcomes["key/2"], Unanswered) and "too long" in outcomes["key/2"].reason


def test_a_cut_off_answer_is_never_read(tmp_path: Path) -> None:
    with OpenAIServer(answer=lambda messages, parameters: "1 " * 500) as serving:
        outcomes = hold(serving, tmp_path / "answers.parquet", ["1"])
    assert isinstance(outcomes["key/1"], Unusable) and outcomes["key/1"].reason.startswith("cut off: ")
