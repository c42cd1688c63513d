"""Every chat template that TRL ships, from SFT's row to the program of a completion."""

from pathlib import Path

import pytest
from tokenizers import AddedToken

from reward.extract import extract_code
from tests.chat_templates import ANSWER, PROGRAM, PROMPT, REASONED, Case, cases, example, page
from xcoder_core.errors import InputError
from xcoder_core.models.chat import completion_text, opened_reasoning, prompt_token_ids, stop_token_ids
from xcoder_core.models.reasoning import PAIRS, PARTS

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
        marks = text.count("<think>"), text.count("</think>")
        assert marks == (1, 1) or (marks == (0, 0) and answer == ANSWER)
        assert prompt == prompt_token_ids(case.tokenizer, PROMPT)
        stops = stop_token_ids(case.tokenizer)
        assert learned[-1] in stops and not stops & set(learned[:-1])
        # What a model that has learned it writes is read as its program, and nothing of it while it still reasons.
        opened = opened_reasoning(case.tokenizer, prompt)
        assert extract_code(completion_text(case.tokenizer, opened, learned)) == PROGRAM
        if opened:
            draft = case.tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
            assert extract_code(completion_text(case.tokenizer, opened, draft)) is None


def named(name: str) -> Case:
    return next(case for case in cases() if case.name == name)


@pytest.mark.parametrize("name", ["idefics3", "smolvlm", "llava_next"])
def test_a_template_that_leaves_the_problem_out_is_refused_wherever_a_prompt_is_made(name: str) -> None:
    with pytest.raises(InputError, match=r"leaves out the text of the user message: 'Add\.'"):
        prompt_token_ids(named(name).tokenizer, PROMPT)


def test_a_system_message_that_the_template_refuses_is_told_in_its_words() -> None:
    with pytest.raises(InputError, match="of system and user: System role not supported"):
        prompt_token_ids(named("gemma").tokenizer, [{"role": "system", "content": "You program."}, *PROMPT])


def test_an_answer_is_not_trained_on_without_the_channel_that_the_template_puts_before_it() -> None:
    with pytest.raises(InputError, match=r"puts '<\|channel\|>final<\|message\|>' between a prompt and its answer"):
        example(named("gptoss"), ANSWER)


@pytest.mark.parametrize("opening", PAIRS)
def test_marks_of_reasoning_are_seen_where_the_tokenizer_has_them_among_its_special_tokens(opening: str) -> None:
    tokenizer = named("llama3").tokenizer
    names = [*PARTS, "<|start|>", "<|unnamed|>"]
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    draft = f"{opening}\nSo.\n{ANSWER.replace('1', '2')}\n"
    for written, program in ((draft, None), (f"{draft}<|start|>{PAIRS[opening]}\n{ANSWER}<|unnamed|>", PROGRAM)):
        ids = tokenizer(written, add_special_tokens=False)["input_ids"]
        text = completion_text(tokenizer, "", ids)
        assert extract_code(text) == program
        assert "<|unnamed|>" not in text and "<|start|>" not in text
