"""Every template describes itself, and no field is left out in silence."""

import re

import jinja2
import jinja2.meta
import pytest

from synth import prompts

TEMPLATES = sorted(path.stem for path in prompts.FOLDER.glob("*.j2"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_begins_with_what_it_asks_its_fields_and_its_answer_format(name: str) -> None:
    text = (prompts.FOLDER / f"{name}.j2").read_text(encoding="utf-8")
    header = re.match(r"\{#(.*?)#\}", text, re.DOTALL)
    assert header is not None
    for part in ("Asks:", "Fields:", "Answer:"):
        assert part in header[1]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_header_names_every_field_that_the_template_takes(name: str) -> None:
    text = (prompts.FOLDER / f"{name}.j2").read_text(encoding="utf-8")
    header = text.partition("#}")[0]
    taken = jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(text))
    assert {field for field in taken if not re.search(rf"^\W*(Fields:)?\s*{field} - ", header, re.MULTILINE)} == set()


def test_a_missing_field_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="error"):
        prompts.render("retry")


def test_a_field_is_text_and_never_a_template() -> None:
    (message,) = prompts.render("retry", error="<b> {{ 1 + 1 }} {% block x %}")
    assert "<b> {{ 1 + 1 }} {% block x %}" in message["content"]


def test_a_second_try_shows_the_answer_without_its_reasoning_and_what_is_wrong_with_it() -> None:
    asked = [{"role": "user", "content": "List two."}]
    messages = prompts.retry_messages(asked, "<think>long</think>\nOne.", "there is one")
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[0] == asked[0]
    assert messages[1]["content"] == "One."
    assert "there is one" in messages[2]["content"]
