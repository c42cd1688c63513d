"""Every chat template that TRL ships, from SFT's row to the program of a completion."""

from pathlib import Path

import pytest

from reward.extract import extract_code
from tests.chat_templates import ANSWER, PROGRAM, PROMPT, REASONED, Case, cases, example, page
from xcoder_train.core.errors import InputError
from xcoder_train.core.generation.chat import (
    completion_text,
    opened_reasoning,
    prompt_token_ids,
    stop_token_ids,
)
from xcoder_train.core.reasoning import MARK

PROJECT = Path(__file__).parents[3]


def test_the_page_of_chat_templates_is_what_they_make_of_an_answer() -> None:
    assert (PROJECT / "docs" / "chat-templates.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.name}-{case.thinking}")
def test_reasoning_is_opened_and_closed_once_and_what_is_learned_is_what_is_read(case: Case) -> None:
    for answer in (REASONED, ANSWER):
        try:
            prompt, learned = example(case, answer)
        except InputError as error:
            assert str(error).startswith("the chat template")  # one message, which the page shows
            continue
        text = case.tokenizer.decode(prompt + learned)
        marks = [mark[0] for mark in MARK.finditer(text)]
        assert marks in (["<think>", "</think>"], []) and (marks or answer == ANSWER)
        assert prompt == prompt_token_ids(case.tokenizer, PROMPT)
        stops = stop_token_ids(case.tokenizer)
        assert learned[-1] in stops and not stops & set(learned[:-1])
        # What a model that has learned it writes is read as its program, and nothing of it while it still reasons.
        opened = opened_reasoning(case.tokenizer, prompt)
        assert extract_code(completion_text(case.tokenizer, opened, learned)) == PROGRAM
        if opened:
            draft = case.tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
            assert extract_code(completion_text(case.tokenizer, opened, draft)) is None
