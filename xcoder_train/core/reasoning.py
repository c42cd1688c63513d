"""Reasoning before an answer: how it is marked, whether a prompt opens it, and what follows it."""

import re

_NAME = r"(?:seed:)?think(?:ing)?"
_OPENING = rf"<{_NAME}>|\[THINK\]"
_CLOSING = rf"</{_NAME}>|\[/THINK\]"
MARK = re.compile(f"{_OPENING}|{_CLOSING}")
_OPENED_LAST = re.compile(rf"({_OPENING})\s*\Z")
_CLOSED_LAST = re.compile(rf"({_CLOSING})\s*\Z")
_BEGINS = re.compile(rf"\s*({_OPENING})")
_BEGINS_A_LINE = re.compile(rf"^\s*({_OPENING})", re.MULTILINE)


def after_reasoning(text: str) -> str | None:
    """What follows the last closing mark; None where reasoning was opened, at the beginning of a line, and not closed.

    A text without reasoning is an answer as a whole.
    """
    marks = [found for found in MARK.finditer(text) if re.match(_CLOSING, found[0])]
    if marks:
        return text[marks[-1].end() :]
    return None if _BEGINS_A_LINE.search(text) else text


def opening_at_end(prompt: str) -> str:
    """The mark with which a rendered prompt opens the model's reasoning, and the white space after it; "" for none."""
    opened = _OPENED_LAST.search(prompt)
    return opened[0] if opened else ""


def continue_from(prompt: str, answer: str) -> str:
    """An answer as it goes on from a rendered prompt: where the prompt opens the reasoning, it opens it no more.

    An answer without reasoning then closes it first, as templates write an empty one. Raises `ValueError` for an answer
    with reasoning after a prompt that has closed it.
    """
    opened, own = opening_at_end(prompt), _BEGINS.match(answer)
    if own and _CLOSED_LAST.search(prompt):
        raise ValueError
    if not opened:
        return answer
    if own:
        rest = answer[own.end() :]
        return rest.removeprefix("\n") if opened.endswith("\n") else rest
    if re.search(_CLOSING, answer):  # published without the opening that its prompt had
        return answer
    closing = re.sub(r"^(.)", r"\1/", opened.strip())
    return f"\n{closing}\n\n{answer}"
