"""Answers of a language model are read strictly, and the errors tell it what to mend."""

import pytest

from synth.prompts import AnswerError, read_answer, read_object


def fenced(body: str, tag: str = "json") -> str:
    return f"```{tag}\n{body}\n```"


def test_the_last_complete_block_after_the_reasoning_is_the_answer() -> None:
    answer = f"<think>{fenced('[1]')}</think> First {fenced('[2]')} then {fenced('[3]')} as asked"
    answer = answer.replace(" ```", "\n```").replace("``` ", "```\n")
    assert read_answer(answer) == [3]


@pytest.mark.parametrize("tag", ["yaml", "yml", "YAML"])
def test_a_yaml_block_is_read_as_yaml(tag: str) -> None:
    assert read_answer(fenced("graph:\n- breadth-first search\n- 0-1 search", tag)) == {
        "graph": ["breadth-first search", "0-1 search"]
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I cannot do that.", "there is no fenced block"),
        ("```json\n[1]\n```\n```json\n[1, 2", "cut short"),
        ("<think> so\n```json\n[1]\n```", "cut short"),
        (fenced('{"a": [1,]}'), r"Expecting value \(line 1, column 10"),
        (fenced('{"a": 1, "a": 2}'), "`a` stands twice"),
        (fenced('{"a": NaN}'), "NaN is not a number"),
        (fenced('"\\ud800"'), "surrogate"),
        (fenced("[" * 100_000), "too deeply"),
        (fenced("9" * 5000), "cannot be read"),
        (fenced("a: 1\na: 2", "yaml"), "line:2: duplicate key"),
        (fenced("print(1)", "python"), "tagged `python`"),
    ],
)
def test_an_answer_in_another_format_is_refused_with_what_is_wrong(answer: str, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_answer(answer)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[]", "found a list"),
        ("null", "found nothing"),
        ('{"a": 1}', "`b` missing"),
        ('{"a": 1, "b": 2, "c": 3}', "`c` not expected"),
        ('{"c": 3}', "`a`, `b` missing and `c` not expected"),
    ],
)
def test_an_object_has_exactly_the_keys_that_were_asked_for(body: str, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        read_object(fenced(body), ("a", "b"))


def test_an_object_with_its_keys_is_read() -> None:
    assert read_object(fenced('{"b": [], "a": "x"}'), ("a", "b")) == {"a": "x", "b": []}
