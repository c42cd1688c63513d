"""Reasoning before an answer: how it is marked, whether a prompt opens it, and what follows it."""

import re

from xcoder_core.errors import InputError

PAIRS = {
    **{f"<{name}>": f"</{name}>" for name in ("think", "thinking", "seed:think")},
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
"""What opens reasoning, and what closes it: R1, Qwen and most others; Seed; Magistral; Command A; Gemma 4; gpt-oss."""

_OPENING = "|".join(map(re.escape, PAIRS))
_CLOSING = "|".join(map(re.escape, PAIRS.values()))
_CLOSED = re.compile(_CLOSING)
_OPENED_LAST = re.compile(rf"({_OPENING})\s*\Z")
_CLOSED_LAST = re.compile(rf"({_CLOSING})\s*\Z")
_BEGINS = re.compile(rf"\s*({_OPENING})")
# Within a line it is talked about.
_OPENED = re.compile(rf"^[ \t]*+(?:{_OPENING})|(?:{_OPENING})[ \t]*+$", re.MULTILINE)
_PART = re.compile(r"<\|?[\w:/]+\|?>|\[/?THINK\]")
PARTS = frozenset(_PART.findall(" ".join([*PAIRS, *PAIRS.values()])))
"""The tokens that marks are made of, which some tokenizers have among their special ones."""


def after_reasoning(text: str) -> str | None:
    """What follows the last closing mark; None where reasoning was opened after it, or at all, and not closed.

    A text without reasoning is an answer as a whole. A mark opens reasoning at the beginning or the end of a line.
    """
    closed = 0
    for found in _CLOSED.finditer(text):
        closed = found.end()
    return None if _OPENED.search(text, closed) else text[closed:]


def opening_at_end(prompt: str) -> str:
    """The mark with which a rendered prompt opens the model's reasoning, and the white space after it; "" for none."""
    opened = _OPENED_LAST.search(prompt)
    return opened[0] if opened else ""


def continue_from(prompt: str, answer: str) -> str:
    """An answer as it goes on from a rendered prompt: where the prompt opens the reasoning, it opens it no more.

    An answer without reasoning then closes it first, as templates write an empty one. Raises `InputError` for an answer
    with reasoning after a prompt that has closed it.
    """
    opened, own = opening_at_end(prompt), _BEGINS.match(answer)
    if own and _CLOSED_LAST.search(prompt):
        raise InputError(
            f"the chat template closes the reasoning in the prompt (it ends with {prompt[-30:]!r}), but the answer "
            f"begins with reasoning ({answer[:30]!r}): a model would learn to reason twice. Use a template that leaves "
            "thinking on (model.chat_template), or answers without reasoning."
        )
    if not opened:
        return answer
    if own:
        rest = answer[own.end() :]
        return rest.removeprefix("\n") if opened.endswith("\n") else rest
    if _CLOSED.search(answer):  # published without the opening that its prompt had
        return answer
    return f"\n{PAIRS[opened.strip()]}\n\n{answer}"
