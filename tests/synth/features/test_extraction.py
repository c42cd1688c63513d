"""Features come out of snippets through a real server; what cannot be used is set aside with its reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from openai_server import Fault, OpenAIServer

from synth.features.config import Snippets
from synth.features.questions import FeatureAnswer, extract_features, read_extraction
from synth.prompts import AnswerError
from xcoder_core.errors import InfrastructureError, InputError
from xcoder_core.records import read_records


def settings(path: Path, **changed: object) -> Snippets:
    return Snippets.model_validate({"kind": "snippets", "path": path, "maximum_characters": 1000, **changed})


def test_features_of_all_snippets_are_merged_and_counted(
    tmp_path: Path, snippets: Path, model_answer: Callable, interview: Callable
) -> None:
    with OpenAIServer(model_answer) as server, interview(server, tmp_path / "answers.parquet") as asked:
        tree = extract_features(settings(snippets), asked, tmp_path / "extracted.parquet")
    counts = {path: node.count for path, node in tree.nodes()}
    assert counts["algorithm"] == 8  # twelve rows, three of them bad, one answer that never parsed
    assert counts["algorithm/graph/shortest path/dijkstra's algorithm"] == 8
    assert counts["algorithm/graph/shortest path/trick 3"] == 1
    assert counts["complexity/time/O(n log n)"] == 8
    assert set(tree.counts()) == {"algorithm", "complexity"}


def test_an_answer_that_cannot_be_read_is_asked_once_more_with_the_error_and_then_set_aside(
    tmp_path: Path, snippets: Path, model_answer: Callable, interview: Callable
) -> None:
    with OpenAIServer(model_answer) as server, interview(server, tmp_path / "answers.parquet") as asked:
        extract_features(settings(snippets), asked, tmp_path / "extracted.parquet")
    again = [call.body["messages"] for call in server.calls if len(call.body["messages"]) > 2]
    assert len(server.calls) == 9 + 2
    assert {messages[1]["content"].split("\n")[3] for messages in again} == {"task 3 stumbles", "task 4 fails"}
    assert all("there is no fenced block" in messages[-1]["content"] for messages in again)
    answers = list(read_records(tmp_path / "extracted.parquet", FeatureAnswer))
    assert [int(answer.key) for answer in answers] == list(range(1, 13))
    reasons = {int(answer.key): answer.reason for answer in answers if answer.reason is not None}
    assert sorted(reasons) == [4, 6, 7, 8]
    assert "no fenced block" in str(reasons[4])
    assert "not valid JSON" in str(reasons[6])
    assert reasons[7] == "the column `question` holds no text"
    assert "more than maximum_characters (1000)" in str(reasons[8])
    assert [answer.answer for answer in answers if answer.answer] == ["I see a graph."]
    assert all((answer.reason is None) == bool(answer.features) for answer in answers)


def test_what_was_answered_is_not_asked_again_and_the_table_is_the_same_in_any_order(
    tmp_path: Path, snippets: Path, model_answer: Callable, interview: Callable
) -> None:
    def refuses_late(call: object) -> Fault | None:
        return Fault(400) if len(server.calls) >= 6 else None

    with OpenAIServer(model_answer, fault_of=refuses_late) as server:
        with (
            pytest.raises(InfrastructureError, match="stayed without an answer"),
            interview(server, tmp_path / "one" / "answers.parquet", 1) as asked,
        ):
            extract_features(settings(snippets), asked, tmp_path / "one" / "extracted.parquet")
        kept = {call.asked for call in server.calls if call.answered}
        server.fault_of, before = None, len(server.calls)
        with interview(server, tmp_path / "one" / "answers.parquet", 1) as asked:
            first = extract_features(settings(snippets), asked, tmp_path / "one" / "extracted.parquet")
        assert kept
        assert kept.isdisjoint(call.asked for call in server.calls[before:])
        with interview(server, tmp_path / "two" / "answers.parquet", 16) as asked:
            second = extract_features(settings(snippets), asked, tmp_path / "two" / "extracted.parquet")
    assert first == second
    for name in ("extracted.parquet", "answers.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_other_columns_and_a_limit_can_be_named(
    tmp_path: Path, snippets: Path, model_answer: Callable, interview: Callable
) -> None:
    with OpenAIServer(model_answer) as server, interview(server, tmp_path / "answers.parquet") as asked:
        tree = extract_features(settings(snippets, code=None, limit=2), asked, tmp_path / "extracted.parquet")
        assert all("<solution>" not in call.asked for call in server.calls)
        assert tree.children["algorithm"].count == 2
        with pytest.raises(InputError, match=r"no row of .* gave features; the column `reason`"):
            extract_features(settings(snippets, instruction="text"), asked, tmp_path / "none.parquet")
    reason = next(read_records(tmp_path / "none.parquet", FeatureAnswer)).reason
    assert reason == "there is no column `text`; the row has question, solutions"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[]", "expected an object with some of the keys algorithm, data structure"),
        ('{"language": ["Python"]}', "`language` is no category"),
        ('{"algorithm": ["a"], "Algorithms": ["b"]}', "`algorithm` stands twice"),
        ('{"algorithm": {"graph": 3}}', "below `algorithm/graph`"),
        ('{"algorithm": {}}', "no feature below any category"),
    ],
)
def test_an_extraction_has_features_below_known_categories(body: str, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_extraction(f"```json\n{body}\n```")


def test_categories_are_known_in_any_spelling() -> None:
    answer = (
        '```json\n{"Data Structures": ["heap"], "problem_type": "counting", "Optimisation": {"of search": []}}\n```'
    )
    assert read_extraction(answer) == ("data structure/heap", "optimization/of search", "problem type/counting")
